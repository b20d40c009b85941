import { mkdtemp, open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  ScoriaError,
  silentLog,
  systemClock,
  SystemExec,
  openPathDevice,
  systemRandom,
  type Command,
  type ConnectionInfo,
  type Exec,
  type ExportRequest,
  type PluginCall,
} from '@scoria/core';
import { IscsiTransport, iscsiConfiguration } from '@scoria/driver-iscsi';
import { Configfs, lioConfiguration, lioRoot, LioTransport } from '@scoria/driver-iscsi/lio';
import { OpenIscsiInitiator } from '@scoria/driver-iscsi/open-iscsi';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { until } from '../system/polling.ts';
import { run } from '../system/programs.ts';
import { startIscsid, type Iscsid } from './fixtures/open-iscsi.ts';

// The kernel's initiator as an Initiator, with the embedded target at two portals, of IPv4 and IPv6.

const MiB = 1024 * 1024;
const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const portals = ['127.0.0.1:3270', '[::1]:3271'];
let iscsid: Iscsid;
let directory: string;
let transport: IscsiTransport;

/** What was run. */
const commands: Command[] = [];
const system = new SystemExec({ clock: systemClock, log: silentLog });
const exec: Exec = {
  run: (command) => {
    commands.push(command);
    return system.run(command);
  },
  lines: (command) => system.lines(command),
};
const initiator = (multipath = false) => new OpenIscsiInitiator({ exec, clock: systemClock, log: silentLog, multipath });

const failure = (work: Promise<unknown>): Promise<ScoriaError | null> =>
  work.then(
    () => null,
    (error: unknown) => ScoriaError.from(error),
  );

/** Publishes a new volume of 64 MiB. */
async function publish(changes: Partial<ExportRequest> = {}): Promise<{ info: ConnectionInfo; request: ExportRequest }> {
  const volumeId = systemRandom.uuid();
  const path = join(directory, volumeId);
  const file = await open(path, 'wx', 0o600);
  await file.truncate(64 * MiB);
  await file.close();
  const request: ExportRequest = {
    ...{ accessId: systemRandom.uuid(), volumeId, device: { kind: 'path', path, blockSize: 512 }, readOnly: false },
    ...{ secret: Buffer.from(systemRandom.bytes(8)).toString('hex') },
    ...changes,
  };
  await transport.export(request, call);
  return { info: transport.connectionInfo(request), request };
}

const changed = (info: ConnectionInfo, data: Record<string, unknown>): ConnectionInfo => ({
  ...info,
  data: { ...info.data, ...data },
});
const disks = async () => (await readdir('/sys/block')).filter((name) => name.startsWith('sd'));
const sessions = () => readdir('/sys/class/iscsi_session').catch(() => []);

beforeAll(async () => {
  iscsid = await startIscsid();
  directory = await mkdtemp('/tmp/open-iscsi-');
  transport = new IscsiTransport({
    name: 'lab',
    config: iscsiConfiguration.parse({ listen: portals, inProcess: true }),
    baseDirectory: directory,
    ...{ clock: systemClock, random: systemRandom, log: silentLog },
    openers: { path: (locator, options) => openPathDevice(locator, { ...options, io: 'pool' }) },
  });
  await transport.start(call);
});
afterEach(async () => {
  expect(await sessions()).toEqual([]);
  expect(await disks()).toEqual([]);
  expect(await initiator().targets('iqn.')).toEqual([]);
});
afterAll(async () => {
  await iscsid[Symbol.asyncDispose]();
  await transport.stop();
  await rm(directory, { recursive: true });
});

test('the connector tells the name of this host', async () => {
  expect(await initiator().connector(call)).toMatchObject({ initiator: iscsid.initiator, multipath: false });
});

test('a portal tells of the targets that strangers may know of, at all its addresses; nothing of them is kept', async () => {
  const { request } = await publish();
  const [ipv4, ipv6] = [
    { host: '127.0.0.1', port: 3272 },
    { host: '::1', port: 3273 },
  ];
  const config = lioConfiguration.parse({ listen: ['127.0.0.1:3272', '[::1]:3273'], bindInitiator: false });
  const lio = new LioTransport({ config, tree: new Configfs(lioRoot), clock: systemClock, log: silentLog, exec: system });
  await lio.start(call);
  try {
    await lio.export({ ...request, initiator: undefined }, call);
    const addresses = [ipv4, ipv6].map((portal) => ({ portal, portalGroupTag: 1 }));
    const name = `${config.iqnPrefix}:${request.accessId}`;
    for (const portal of [ipv4, ipv6]) expect(await initiator().discover(portal, call)).toEqual([{ name, addresses }]);
  } finally {
    await lio.stop();
  }
  // The embedded target tells strangers nothing.
  expect(await initiator().discover({ host: '::1', port: 3271 }, call)).toEqual([]);
  const nobody = await failure(initiator().discover({ host: '127.0.0.1', port: 3279 }, call));
  expect(nobody).toMatchObject({ code: 'transport-failed' });
}, 60_000);

test('a volume becomes a disk with its content and serial number, grows with it, and is gone after disconnect', async () => {
  const { info, request } = await publish();
  const host = initiator();
  const device = await host.connect(info, { readOnly: false }, call);
  expect(device).toMatchObject({ size: 64 * MiB, blockSize: 512, serial: request.volumeId, readOnly: false });
  expect(device.path).toMatch(/^\/dev\/sd/);
  const data = Buffer.alloc(MiB, 7);
  await device.write(data, 3 * MiB);
  await device.flush();
  const written = await readFile(request.device.path);
  expect(written.subarray(3 * MiB, 4 * MiB).equals(data)).toBe(true);
  await truncate(request.device.path, 96 * MiB);
  await transport.resize(request.volumeId, call);
  expect(await device.refreshSize()).toBe(96 * MiB);
  const again = await host.connect(info, { readOnly: true }, call);
  expect(await sessions()).toHaveLength(1);
  await again.close();
  await host.disconnect(info, call);
  await expect(device.read(Buffer.alloc(512), 0)).rejects.toMatchObject({ code: 'device-gone' });
  await host.disconnect(info, call);
});

test('secrets are in no argument of a program', async () => {
  const { info, request } = await publish();
  const host = initiator();
  await host.connect(info, { readOnly: true }, call);
  await host.disconnect(info, call);
  expect(commands.length).toBeGreaterThan(0);
  expect(JSON.stringify(commands)).not.toContain(request.secret);
});

test('another volume under the target is not handed out', async () => {
  const { info } = await publish();
  const failed = await failure(initiator().connect(changed(info, { volume_id: systemRandom.uuid() }), { readOnly: true }, call));
  expect(failed?.code).toBe('device-gone');
});

test('a session that was there is asked again which volume it has', async () => {
  const { info, request } = await publish();
  const device = await initiator().connect(info, { readOnly: true }, call);
  await device.close();
  const { request: other } = await publish();
  await transport.unexport(request.accessId, call);
  // As somebody else would who gives a name to another volume; the session comes back by itself.
  await transport.export({ ...request, volumeId: other.volumeId, device: other.device }, call);
  const [session = ''] = await sessions();
  await until('the session to come back', async () =>
    (await readFile(`/sys/class/iscsi_session/${session}/state`, 'utf8')).trim() === 'LOGGED_IN' &&
    (await transport.list(call)).some(({ sessions: those }) => those.length > 0)
      ? true
      : undefined,
  );
  expect((await failure(initiator().connect(info, { readOnly: true }, call)))?.code).toBe('device-gone');
  await initiator().disconnect(info, call);
});

test('a disk that something else of this host uses is not taken away', async () => {
  const { info } = await publish();
  const host = initiator();
  const device = await host.connect(info, { readOnly: false }, call);
  const table = `0 ${(64 * MiB) / 512} linear ${device.path} 0`;
  await run('dmsetup', ['create', 'user', '--table', table], { must: true });
  const refused = await failure(host.disconnect(info, call));
  expect(refused).toMatchObject({ code: 'backend-busy', message: expect.stringContaining(device.path ?? '') });
  expect(await disks()).toHaveLength(1);
  await run('dmsetup', ['remove', '--retry', 'user'], { must: true });
  await host.disconnect(info, call);
});

test('a volume for reading only can be reached by several portals', async () => {
  const { info } = await publish({ readOnly: true });
  const host = initiator(true);
  const device = await host.connect(info, { readOnly: true }, call);
  expect(device.readOnly).toBe(true);
  await device.read(Buffer.alloc(4096), 0);
  await device.close();
  await host.disconnect(info, call);
});

test.each([
  ['a target that is a path', { target_iqn: '../../../tmp/x', target_iqns: undefined }],
  ['a secret of several lines', { auth_password: 'secret\nnode.startup = automatic' }],
])('%s is refused before open-iscsi hears of it', async (_, data) => {
  const { info } = await publish();
  commands.length = 0;
  expect((await failure(initiator().connect(changed(info, data), { readOnly: true }, call)))?.code).toBe('invalid-input');
  expect(commands).toEqual([]);
});

test('a wrong secret is not permitted, and a target that is not there cannot be reached', async () => {
  const { info } = await publish();
  const wrong = await failure(
    initiator().connect(changed(info, { auth_password: 'another-secret-7' }), { readOnly: true }, call),
  );
  expect(wrong?.code).toBe('not-permitted');
  const gone = changed(info, { target_iqn: `${String(info.data['target_iqn'])}-gone`, target_iqns: undefined });
  expect((await failure(initiator().connect(gone, { readOnly: true }, call)))?.code).toBe('transport-failed');
});

test('what a process left behind is found by the next one and ended', async () => {
  const { info } = await publish();
  const device = await initiator().connect(info, { readOnly: false }, call);
  await device.write(Buffer.alloc(4096, 1), 0);
  await device.close();
  const next = initiator();
  expect(await next.targets('iqn.2026-11.org.scoria:')).toEqual([info.data['target_iqn']]);
  await next.disconnect(info, call);
});

test('with several portals I/O goes on when a path fails, and the path is taken back', async () => {
  const { info, request } = await publish();
  const host = initiator(true);
  const device = await host.connect(info, { readOnly: false }, call);
  expect(device).toMatchObject({ path: `/dev/mapper/scoria-${request.volumeId}`, serial: request.volumeId });
  const both = await disks();
  expect(both).toHaveLength(2);
  await writeFile(`/sys/block/${both[0]}/device/state`, 'offline\n');
  const data = Buffer.alloc(MiB, 9);
  for (let at = 0; at < 8; at++) await device.write(data, at * MiB);
  await device.flush();
  expect((await readFile(request.device.path)).subarray(7 * MiB, 8 * MiB).equals(data)).toBe(true);
  const status = async () => (await run('dmsetup', ['status', `scoria-${request.volumeId}`], { must: true })).stdout;
  expect(await status()).toMatch(/ F /);
  await writeFile(`/sys/block/${both[0]}/device/state`, 'running\n');
  await until('the path to be taken back', async () => (/ F /.test(await status()) ? undefined : true), 30_000);
  await truncate(request.device.path, 96 * MiB);
  await transport.resize(request.volumeId, call);
  expect(await device.refreshSize()).toBe(96 * MiB);
  await host.disconnect(info, call);
});
