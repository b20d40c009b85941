/** Writes `docs/errors.md` from core's table of errors; with `--check` it only says whether that is up to date. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorCodes, type ErrorDefinition, type Fault } from '../packages/core/src/error/error-codes.ts';

const file = join(import.meta.dirname, '../docs/errors.md');

const headings: Record<Fault, string> = {
  caller: 'The request',
  backend: 'The storage behind a driver or transport',
  operator: 'The configuration and the machine',
  bug: 'Scoria itself',
};

function section(fault: Fault): string {
  const all: readonly (readonly [string, ErrorDefinition])[] = Object.entries(errorCodes);
  const rows = all
    .filter(([, definition]) => definition.fault === fault)
    .map(([code, { retryable, remedy }]) =>
      `### ${code}\n\n${remedy} ${retryable ? 'The same request may succeed later.' : ''}`.trim(),
    );
  return `## ${headings[fault]}\n\n${rows.join('\n\n')}`;
}

const text = `# Errors

Every error of Scoria has one of these codes. A code is stable: it is never renamed and never reused. The code stands in the
log, in the answers of the operations API and in \`ScoriaError.code\`; the message beside it names the thing concerned. The
sections say who has to act.

<!-- Made by scripts/error-reference.ts from packages/core/src/error/error-codes.ts. -->

${(Object.keys(headings) as Fault[]).map(section).join('\n\n')}
`;

if (process.argv.includes('--check')) {
  const kept = await readFile(file, 'utf8').catch(() => '');
  if (kept !== text) {
    console.error('docs/errors.md does not say what the table of errors says. Run: npm run docs:errors');
    process.exitCode = 1;
  }
} else {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}
