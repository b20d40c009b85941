import { chmod, open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ScoriaError } from '@scoria/core';
import { stateSchema, type IdentityState } from './state.ts';

/**
 * Reads the state; `undefined` when there is no file yet. `invalid-configuration` when the file cannot be understood,
 * `data-directory-newer` when a later version wrote it.
 */
export async function readState(file: string): Promise<IdentityState | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw new ScoriaError('invalid-configuration', `The identity file ${file} cannot be read`, { cause: error });
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw new ScoriaError('invalid-configuration', `The identity file ${file} is not JSON`, { cause });
  }
  if (typeof content === 'object' && content !== null && 'version' in content && Number(content.version) > 1) {
    throw new ScoriaError('data-directory-newer', `The identity file ${file} was written by a later version`);
  }
  const state = stateSchema.safeParse(content);
  if (!state.success) {
    // The issues name paths, never values: hashes and the key must not get into a log.
    const paths = state.error.issues.map((issue) => issue.path.join('.')).slice(0, 5);
    throw new ScoriaError('invalid-configuration', `The identity file ${file} is damaged at ${paths.join(', ')}`);
  }
  await chmod(file, 0o600);
  return state.data;
}

/** Replaces the file at once and durably; it is readable by its owner only. */
export async function writeState(file: string, state: IdentityState): Promise<void> {
  const temporary = `${file}.new`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.chmod(0o600);
    await handle.writeFile(`${JSON.stringify(state, null, 2)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
  const directory = await open(dirname(file), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
