import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { noExec, type Exec, type PluginCall } from '@scoria/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { NodeRecords } from '../src/open-iscsi/node-records.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const node = { target: 'iqn.2026-11.org.scoria:one', portal: '127.0.0.1:3260' };
const credentials = { user: 'user', secret: 'a-secret-of-16-b' };

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'records-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** iscsiadm as far as records are concerned: it neither replaces nor deletes one that is empty. */
const iscsiadm: Exec = {
  ...noExec,
  run: async ({ args, accepts }) => {
    const folder = join(directory, 'nodes', node.target);
    const path = join(folder, '127.0.0.1,3260');
    const before = await readFile(path, 'utf8').catch(() => null);
    let exitCode = 0;
    if (args.includes('new')) {
      if (before === '') exitCode = 6;
      else {
        await mkdir(folder, { recursive: true });
        await writeFile(path, '# BEGIN RECORD\nnode.startup = automatic\nnode.name = x\n# END RECORD\n', { mode: 0o600 });
      }
    } else if (args.includes('delete')) {
      if (before === null || before === '') exitCode = 21;
      else await rm(folder, { recursive: true });
    }
    if (!accepts?.includes(exitCode)) throw new Error(`iscsiadm ended with ${exitCode}`);
    return { exitCode, stdout: '', stderr: '' };
  },
};

test('a record has the secret, is for root alone, and iscsid does not log in by itself', async () => {
  const records = new NodeRecords(iscsiadm, directory);
  const path = join(directory, 'nodes', node.target, '127.0.0.1,3260');
  for (const repeat of [1, 2]) {
    await records.add(node, credentials, call);
    const lines = (await readFile(path, 'utf8')).split('\n');
    expect(lines, `time ${repeat}`).toEqual([
      '# BEGIN RECORD',
      'node.startup = manual',
      'node.session.initial_login_retry_max = 1',
      'node.conn[0].timeo.login_timeout = 10',
      'node.session.auth.authmethod = CHAP',
      'node.session.auth.username = user',
      `node.session.auth.password = ${credentials.secret}`,
      'node.name = x',
      '# END RECORD',
      '',
    ]);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  }
});

test('a record that was left half-written is forgotten, and can be made anew', async () => {
  const records = new NodeRecords(iscsiadm, directory);
  await records.add(node, credentials, call);
  await writeFile(join(directory, 'nodes', node.target, '127.0.0.1,3260'), '');
  await expect(records.add(node, credentials, call)).rejects.toThrow();
  await records.remove(node.target, call);
  expect(await readdir(join(directory, 'nodes'))).toEqual([]);
  expect(await records.targets()).toEqual([]);
  await records.add(node, credentials, call);
});

test('a record that is not where it should be is told: a login would be one without the secret', async () => {
  const elsewhere: Exec = { ...noExec, run: async () => ({ exitCode: 0, stdout: '', stderr: '' }) };
  await expect(new NodeRecords(elsewhere, directory).add(node, credentials, call)).rejects.toMatchObject({
    code: 'transport-failed',
  });
});
