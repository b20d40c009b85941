import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock, systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { IscsiTransport, iscsiConfiguration } from '@scoria/driver-iscsi';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from './processes.ts';
import { run } from './programs.ts';

// What libiscsi, which others wrote, agrees on with the target at a login: mutual CHAP and header digests, over IPv4 and IPv6.

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const accessId = '11111111-1111-4111-8111-111111111111';
const volumeId = '22222222-2222-4222-8222-222222222222';
const secret = 'a-secret-of-the-access';
const ownSecret = 'a-secret-of-the-target';
let directory: string;
let port: number;
let transport: IscsiTransport;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-login-'));
  port = await freePort();
  await writeFile(join(directory, 'own-secret'), `${ownSecret}\n`, { mode: 0o600 });
  transport = new IscsiTransport({
    name: 'login',
    config: iscsiConfiguration.parse({
      listen: [`127.0.0.1:${port}`, `[::1]:${port}`],
      mutualChap: { username: 'the-target', secretFile: 'own-secret' },
    }),
    baseDirectory: directory,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    openers: {},
  });
  await transport.start(call);
  const path = join(directory, 'volume');
  const file = await open(path, 'wx', 0o600);
  await file.truncate(104_857_600);
  await file.close();
  const request: ExportRequest = {
    accessId,
    volumeId,
    device: { kind: 'path', path, blockSize: 512 },
    readOnly: false,
    secret,
  };
  await transport.export(request, call);
});
afterAll(async () => {
  await transport?.stop();
  await rm(directory, { recursive: true, force: true });
});

const url = (parameters = '', host = '127.0.0.1'): string =>
  `iscsi://${accessId}%${secret}@${host}:${port}/iqn.2026-11.org.scoria:${accessId}/0${parameters}`;

test('the target proves itself to libiscsi, which refuses one that cannot', async () => {
  const asked = (password: string) => run('iscsi-inq', [url(`?target_user=the-target&target_password=${password}`)]);
  expect(await asked(ownSecret)).toMatchObject({ code: 0, stdout: expect.stringContaining('Product:Scoria') });
  const refused = await asked('a-secret-of-another');
  expect(refused.code).not.toBe(0);
});

test.each(['SCSI.Read16', 'SCSI.Write16', 'SCSI.Unmap', 'iSCSI.iSCSIcmdsn'])('%s passes with header digests', async (suite) => {
  const { stdout } = await run('iscsi-test-cu', ['--dataloss', '--fail', '-t', suite, url('?header_digest=crc32c')]);
  const [, ran, , failed] = /tests\s+(\d+)\s+\d+\s+(\d+)\s+(\d+)/.exec(stdout) ?? [];
  expect({ output: failed === '0' ? '' : stdout, ran: Number(ran) > 0 }).toEqual({ output: '', ran: true });
});

test('both portals are told in discovery, and serve', async () => {
  const found = await run('iscsi-ls', [`iscsi://${accessId}%${secret}@127.0.0.1:${port}`]);
  expect(found.stdout).toContain(`Portal:127.0.0.1:${port},1`);
  expect(found.stdout).toContain(`Portal:[::1]:${port},1`);
  expect(await run('iscsi-inq', [url('', '[::1]')])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('Product:Scoria'),
  });
});
