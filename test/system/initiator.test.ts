import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock, systemRandom, type ConnectedDevice, type ConnectionInfo, type PluginCall } from '@scoria/core';
import { IscsiTransport, iscsiConfiguration } from '@scoria/driver-iscsi';
import { discover, IscsiInitiator, type IscsiInitiatorOptions } from '@scoria/driver-iscsi/initiator';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startTgt } from '../bench/reference-target.ts';
import { freePort, killNow } from './processes.ts';
import { run } from './programs.ts';

// The initiator in TypeScript against targets in processes of their own: the embedded one, and Debian's tgt. Other people's
// initiators look at the same logical units.

const MiB = 1024 * 1024;
const size = 64 * MiB;
const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const accessId = '11111111-1111-4111-8111-111111111111';
const volumeId = '22222222-2222-4222-8222-222222222222';
const secret = 'a-secret-of-the-access';
const initiatorName = 'iqn.2026-11.test:system';

let directory: string;
let port: number;
let cleanup: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-initiator-'));
  port = await freePort();
  cleanup = [() => rm(directory, { recursive: true })];
});
afterEach(async () => {
  for (const each of cleanup.toReversed()) await each();
});

/** A target, as its clients see it. */
interface TargetUnderTest {
  readonly info: ConnectionInfo;
  /** For libiscsi and qemu. */
  readonly url: string;
  /** File behind the logical unit. */
  readonly file: string;
  /** Kills the process that serves; `restart` brings one back where that does not happen by itself. */
  kill(): Promise<void>;
  restart?(): Promise<void>;
}

async function volumeFile(): Promise<string> {
  const path = join(directory, 'volume');
  await writeFile(path, '');
  await truncate(path, size);
  return path;
}

async function embedded(): Promise<TargetUnderTest> {
  const file = await volumeFile();
  const transport = new IscsiTransport({
    name: 'system',
    config: iscsiConfiguration.parse({ listen: [`127.0.0.1:${port}`] }),
    baseDirectory: directory,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    openers: {},
  });
  cleanup.push(() => transport.stop());
  await transport.start(call);
  const device = { kind: 'path', path: file, blockSize: 512 } as const;
  const request = { accessId, volumeId, device, readOnly: false, secret };
  await transport.export(request, call);
  const info = transport.connectionInfo(request);
  const url = `iscsi://${accessId}%${secret}@127.0.0.1:${port}/${String(info.data['target_iqn'])}/0`;
  return { info, url, file, kill: () => killNow(transport.processId) };
}

async function tgt(): Promise<TargetUnderTest> {
  const file = await volumeFile();
  const start = () => startTgt({ directory, port, file, user: 'somebody', secret });
  let served = await start();
  cleanup.push(() => served.stop());
  const [, targetName, lun] = /\/([^/]+)\/(\d+)$/.exec(served.url) ?? [];
  return {
    info: {
      driverVolumeType: 'iscsi',
      data: {
        target_portal: `127.0.0.1:${port}`,
        target_iqn: targetName,
        target_lun: Number(lun),
        auth_method: 'CHAP',
        auth_username: 'somebody',
        auth_password: secret,
      },
    },
    url: served.url,
    file,
    kill: () => killNow(served.pid),
    restart: async () => {
      served = await start();
    },
  };
}

async function connect(info: ConnectionInfo, options: Partial<IscsiInitiatorOptions> = {}): Promise<ConnectedDevice> {
  const initiator = new IscsiInitiator({
    initiatorName,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    ...options,
  });
  const device = await initiator.connect(info, { readOnly: false }, call);
  cleanup.push(() => device.close());
  return device;
}

/** Bytes that tell their place. */
function content(from: number, length: number): Buffer {
  const data = Buffer.alloc(length);
  for (let at = 0; at < length; at += 8) data.writeDoubleLE(from + at + 1, at);
  return data;
}

describe.each([
  ['the embedded target', embedded],
  ['tgt', tgt],
] as const)('against %s', (name, start) => {
  test.each([
    ['as it likes', {}],
    ['without unsolicited data', { initialR2T: true, immediateData: false }],
    ['with digests where the target has them', { headerDigest: 'CRC32C,None', dataDigest: 'CRC32C,None' }],
  ] as const)('moves data %s, and qemu finds the same', async (_how, offer) => {
    const { info, url } = await start();
    const device = await connect(info, { offer });
    expect(device.size).toBe(size);
    if (name !== 'tgt') expect(device.serial).toBe(volumeId);
    const expected = Buffer.alloc(size);
    const pieces = Array.from({ length: 64 }, (_, index) => ({ offset: index * MiB, length: 4096 << (index % 8) }));
    await Promise.all(
      pieces.map(async ({ offset, length }) => {
        const data = content(offset, length);
        data.copy(expected, offset);
        await device.write(data, offset);
      }),
    );
    await device.writeZeroes(2 * MiB, MiB);
    expected.fill(0, 2 * MiB, 3 * MiB);
    await device.discard(4 * MiB + 4096, 4096);
    expected.fill(0, 4 * MiB + 4096, 4 * MiB + 8192);
    await device.flush();
    const copy = join(directory, 'copy');
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'raw', url, copy], { must: true });
    expect((await readFile(copy)).equals(expected)).toBe(true);
    await run('qemu-io', ['-f', 'raw', '-c', 'write -P 7 10M 3M', '-c', 'flush', url], { must: true });
    expected.fill(7, 10 * MiB, 13 * MiB);
    const found = Buffer.alloc(size);
    await device.read(found, 0);
    expect(found.equals(expected)).toBe(true);
  });

  test('finds what it wrote, and loses none of it, when the target is killed meanwhile', async () => {
    const { info, file, kill, restart } = await start();
    const device = await connect(info);
    const steps = 400;
    let done = 0;
    let longest = 0;
    const worker = async (first: number): Promise<void> => {
      for (let step = first; step < steps; step += 8) {
        const begun = performance.now();
        await device.write(content(step * 65_536, 65_536), step * 65_536);
        longest = Math.max(longest, performance.now() - begun);
        if (++done === steps / 2) {
          await kill();
          await restart?.();
        }
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, first) => worker(first)));
    await device.flush();
    const found = Buffer.alloc(65_536);
    const handle = await open(file);
    try {
      for (let step = 0; step < steps; step++) {
        const wanted = content(step * 65_536, 65_536);
        await device.read(found, step * 65_536);
        expect(found.equals(wanted)).toBe(true);
        await handle.read(found, 0, found.length, step * 65_536);
        expect(found.equals(wanted)).toBe(true);
      }
    } finally {
      await handle.close();
    }
    console.log(`longest write while ${name} was killed: ${Math.round(longest)} ms`);
  });

  test('is refused with a wrong secret, and discovers with the right one', async () => {
    const { info } = await start();
    const wrong = { ...info, data: { ...info.data, auth_password: 'not-the-secret-of-it' } };
    await expect(connect(wrong)).rejects.toMatchObject({ code: 'not-permitted' });
    const own = { name: String(info.data['auth_username']), secret };
    const surroundings = { initiatorName, clock: systemClock, random: systemRandom, log: silentLog };
    // tgt lets discovery go without CHAP unless it is told otherwise.
    const credentials = name === 'tgt' ? null : { own };
    const found = await discover({ host: '127.0.0.1', port }, { ...surroundings, credentials });
    expect(found).toEqual([
      { name: info.data['target_iqn'], addresses: [{ portal: { host: '127.0.0.1', port }, portalGroupTag: 1 }] },
    ]);
  });
});
