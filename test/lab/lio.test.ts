import { once } from 'node:events';
import { mkdir, readdir, readFile, rmdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { RecordingLog, type TestVolumes } from '@scoria/conformance';
import { noExec, systemClock, systemRandom, silentLog, type ExportRequest, type PluginCall, type Transport } from '@scoria/core';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { IscsiInitiator } from '../../packages/driver-iscsi/src/initiator/index.ts';
import { Configfs, lioConfiguration, lioRoot, LioTransport, type ConfigTree } from '../../packages/driver-iscsi/src/lio/index.ts';
import { until } from '../system/polling.ts';
import { run } from '../system/programs.ts';
import { loopVolumes } from './fixtures/loop-volumes.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const MiB = 1024 * 1024;

/** A transport to which no program can be run. */
function lioOn(tree: ConfigTree, config: unknown): Transport {
  const log = new RecordingLog();
  return new LioTransport({ config: lioConfiguration.parse(config), tree, clock: systemClock, log, exec: noExec });
}

function initiatorNamed(initiatorName: string): IscsiInitiator {
  return new IscsiInitiator({
    initiatorName,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    times: { patience: 1_000 },
  });
}
const initiator = 'iqn.2026-11.org.scoria.lab:client';
const client = initiatorNamed(initiator);
const connect = (transport: Transport, request: ExportRequest, from = client) =>
  from.connect(transport.connectionInfo(request), { readOnly: false }, call);

let volumes: TestVolumes;
const started: Transport[] = [];
beforeEach(async () => {
  volumes = await loopVolumes();
});
afterEach(async () => {
  for (const transport of started.splice(0)) await transport.stop();
  await volumes.remove();
});

async function start(config: unknown = {}): Promise<Transport> {
  const transport = lioOn(new Configfs(lioRoot), config);
  await transport.start(call);
  started.push(transport);
  return transport;
}

async function requestOf(more: Partial<ExportRequest> = {}): Promise<ExportRequest> {
  return {
    accessId: systemRandom.uuid(),
    volumeId: systemRandom.uuid(),
    device: more.device ?? (await volumes.create(8 * MiB)),
    readOnly: false,
    secret: Buffer.from(systemRandom.bytes(8)).toString('hex'),
    ...more,
  };
}

test('an access that is bound to an initiator refuses others who know the secret', async () => {
  const transport = await start({ bindInitiator: true });
  const request = await requestOf({ initiator });
  await transport.export(request, call);
  const device = await connect(transport, request);
  expect(device.serial).toBe(request.volumeId);
  expect((await transport.list(call))[0]?.sessions).toEqual([initiator]);
  await expect(connect(transport, request, initiatorNamed('iqn.2026-11.org.scoria.lab:other'))).rejects.toThrow();
  await device.close();
});

test('an access that is bound to an initiator can be for reading only, beside one for writing', async () => {
  const transport = await start({ bindInitiator: true });
  const request = await requestOf({ initiator });
  const reading = { ...request, accessId: systemRandom.uuid(), readOnly: true };
  await transport.export(request, call);
  await transport.export(reading, call);
  const info = transport.connectionInfo(reading);
  const careless = { ...info, data: { ...info.data, access_mode: 'rw' } };
  const reader = await client.connect(careless, { readOnly: false }, call);
  await expect(reader.write(new Uint8Array(4096), 0)).rejects.toMatchObject({ code: 'device-not-permitted' });
  await reader.close();
  const writer = await connect(transport, request);
  await writer.write(new Uint8Array(4096).fill(7), 0);
  await writer.close();
});

test.runIf(process.env['LAB_LONG'] === '1')('an access ends whatever logs in to it meanwhile', { timeout: 300_000 }, async () => {
  const transport = await start();
  const device = await volumes.create(8 * MiB);
  for (let round = 0; round < 40; round++) {
    const request = await requestOf({ device });
    await transport.export(request, call);
    let over = false;
    const logIns = Array.from({ length: 4 }, async () => {
      while (!over) {
        const connected = await connect(transport, request, client).catch(() => null);
        if (round % 2 === 0) await connected?.close();
        await systemClock.sleep(1);
      }
    });
    // Logins are at another point in each round.
    await systemClock.sleep(20 + ((round * 7) % 150));
    await transport.unexport(request.accessId, call);
    over = true;
    await Promise.all(logIns);
  }
  expect(await transport.list(call)).toEqual([]);
});

test('all portals serve, over IPv4 and IPv6', async () => {
  const listen = ['127.0.0.1:3261', '[::1]:3261', '127.0.0.1:3262'];
  const transport = await start({ listen });
  const request = await requestOf();
  await transport.export(request, call);
  const { data, driverVolumeType } = transport.connectionInfo(request);
  for (const portal of listen) {
    const { target_portals: _portals, target_iqns: _iqns, target_luns: _luns, ...one } = data;
    const device = await client.connect({ driverVolumeType, data: { ...one, target_portal: portal } }, { readOnly: false }, call);
    expect(device.serial).toBe(request.volumeId);
    await device.close();
  }
});

test('an export that is found gets other portals while its host goes on', async () => {
  const [before, both, after] = ['127.0.0.1:3265', '127.0.0.1:3266', '127.0.0.1:3267'];
  const first = await start({ listen: [before, both] });
  const request = await requestOf();
  await first.export(request, call);
  const device = await connect(first, request);
  await device.write(new Uint8Array(4096).fill(1), 0);
  const next = await start({ listen: [both, after] });
  expect(await next.list(call)).toMatchObject([{ complete: false, sessions: [initiator] }]);
  await next.export(request, call);
  expect(await next.list(call)).toMatchObject([{ complete: true, sessions: [initiator] }]);
  await device.write(new Uint8Array(4096).fill(2), 0);
  await device.close();
  for (const portal of [both, after]) {
    await (await connect(lioOn(new Configfs(lioRoot), { listen: [portal] }), request)).close();
  }
  await expect(connect(lioOn(new Configfs(lioRoot), { listen: [before] }), request)).rejects.toThrow();
});

test('a wildcard serves on all addresses', async () => {
  const transport = await start({ listen: ['0.0.0.0:3263'], advertise: '127.0.0.1:3263' });
  const request = await requestOf();
  await transport.export(request, call);
  await (await connect(transport, request)).close();
});

test('an address on which another program listens is told', async () => {
  const server = createServer().listen(3264, '127.0.0.1');
  await once(server, 'listening');
  const transport = await start({ listen: ['127.0.0.1:3264'] });
  await expect(transport.export(await requestOf(), call)).rejects.toMatchObject({ code: 'address-in-use' });
  expect(await transport.list(call)).toEqual([]);
  server.close();
});

test('an access does not end before its writes, which a device that hangs holds up', async () => {
  const transport = await start();
  const below = await volumes.create(8 * MiB);
  const name = 'slow';
  await run('dmsetup', ['create', name, '--table', `0 ${(8 * MiB) / 512} linear ${below.path} 0`], { must: true });
  const request = await requestOf({ device: { ...below, path: `/dev/mapper/${name}` } });
  await transport.export(request, call);
  const device = await connect(transport, request);
  await device.write(new Uint8Array(4096).fill(1), 0);
  const commands = async (): Promise<number> => {
    const [adapter] = (await readdir(`${lioRoot}/core`)).filter((entry) => entry.startsWith('iblock_'));
    const counters = `${lioRoot}/core/${adapter}/scoria-${request.volumeId}/statistics/scsi_lu`;
    return Number(await readFile(`${counters}/num_cmds`, 'ascii'));
  };
  const before = await commands();
  await run('dmsetup', ['suspend', '--noflush', '--nolockfs', name], { must: true });
  const write = device.write(new Uint8Array(4096).fill(2), 0).then(
    () => 'written',
    () => 'failed',
  );
  await until('the write to be under way', async () => ((await commands()) > before ? true : undefined));
  let ended = false;
  const ending = transport.unexport(request.accessId, call).then(() => (ended = true));
  // The rest of the process goes on meanwhile.
  const other = await requestOf();
  await transport.export(other, call);
  await (await connect(transport, other)).close();
  await transport.unexport(other.accessId, call);
  await systemClock.sleep(1_000);
  // What is asked of the kernel meanwhile waits for nothing.
  for (let look = 0; look < 6; look++) {
    expect(await transport.list(call)).toMatchObject([{ accessId: request.accessId, volumeId: request.volumeId }]);
    await transport.stats(call);
  }
  expect(ended, 'a write was still under way').toBe(false);
  await run('dmsetup', ['resume', name], { must: true });
  await ending;
  await write;
  await run('dmsetup', ['remove', name], { must: true });
  expect(await transport.list(call)).toEqual([]);
});

/** The kernel's tree for a process that is killed before one of its changes. */
class DyingTree extends Configfs {
  #left: number;

  /** @param changes - that are still made. */
  constructor(changes: number) {
    super(lioRoot);
    this.#left = changes;
  }

  override make(path: string): Promise<boolean> {
    return this.#live(() => super.make(path));
  }

  override remove(path: string): Promise<boolean> {
    return this.#live(() => super.remove(path));
  }

  override link(object: string, path: string): Promise<boolean> {
    return this.#live(() => super.link(object, path));
  }

  override unlink(path: string): Promise<boolean> {
    return this.#live(() => super.unlink(path));
  }

  override write(path: string, value: string): Promise<void> {
    return this.#live(() => super.write(path, value));
  }

  override set(path: string, value: string): Promise<void> {
    return this.#live(() => super.set(path, value));
  }

  async #live<T>(change: () => Promise<T>): Promise<T> {
    if (this.#left-- <= 0) throw new Error('the process was killed');
    return change();
  }
}

test.each(['export', 'unexport'] as const)(
  'what a process leaves that is killed at any step of an %s is told as half-made, and completed while all others serve',
  { timeout: 120_000 },
  async (verb) => {
    const transport = await start({ bindInitiator: true });
    const other = await requestOf({ initiator });
    await transport.export(other, call);
    const witness = await connect(transport, other);
    const device = await volumes.create(8 * MiB);
    let steps = 0;
    for (let killed = true; killed; steps++) {
      const request = await requestOf({ device, initiator });
      if (verb === 'unexport') await transport.export(request, call);
      const dying = lioOn(new DyingTree(steps), { bindInitiator: true });
      const done = verb === 'export' ? dying.export(request, call) : dying.unexport(request.accessId, call);
      killed = await done.then(
        () => false,
        () => true,
      );
      const told = (await transport.list(call)).find(({ accessId }) => accessId === request.accessId);
      if (told) expect(told.complete, `step ${steps}`).toBe(verb === 'export' ? !killed : steps === 0);
      await transport.export(request, call);
      expect(await transport.list(call)).toContainEqual(
        expect.objectContaining({ accessId: request.accessId, volumeId: request.volumeId, complete: true }),
      );
      await (await connect(transport, request)).close();
      await transport.unexport(request.accessId, call);
    }
    expect(steps).toBeGreaterThan(8);
    expect(witness.serial).toBe(other.volumeId);
    expect((await transport.list(call)).map(({ accessId, sessions }) => [accessId, sessions])).toEqual([
      [other.accessId, [initiator]],
    ]);
    await witness.close();
  },
);

test('all accesses of a volume share one backstore, which keeps their reservations', async () => {
  const transport = await start();
  const request = await requestOf();
  await transport.export(request, call);
  await transport.export({ ...request, accessId: systemRandom.uuid() }, call);
  const adapters = (await readdir(`${lioRoot}/core`)).filter((entry) => entry.startsWith('iblock_'));
  const backstores = await Promise.all(adapters.map((adapter) => readdir(`${lioRoot}/core/${adapter}`)));
  expect(backstores.flat().filter((entry) => entry.startsWith('scoria-'))).toEqual([`scoria-${request.volumeId}`]);
});

test('discards reach the device', async () => {
  const transport = await start();
  const request = await requestOf();
  await transport.export(request, call);
  const device = await connect(transport, request);
  await device.write(new Uint8Array(4 * MiB).fill(9), 0);
  await device.flush();
  await device.discard(0, 4 * MiB);
  const after = new Uint8Array(MiB);
  await device.read(after, 0);
  expect(after.every((byte) => byte === 0)).toBe(true);
  await device.close();
});

test('many accesses are published, told and ended', async () => {
  const transport = await start();
  const first = await requestOf();
  const requests = Array.from({ length: 100 }, () => ({ ...first, accessId: systemRandom.uuid() }));
  const marks = [systemClock.monotonic()];
  const mark = () => marks.push(systemClock.monotonic());
  await Promise.all(requests.map((request) => transport.export(request, call)));
  mark();
  expect(await transport.list(call)).toHaveLength(requests.length);
  mark();
  await Promise.all(requests.map((request) => transport.export(request, call)));
  mark();
  await transport.stop();
  mark();
  const [made, listed, repeated, ended] = marks.slice(1).map((at, index) => Math.round(at - (marks[index] ?? 0)));
  console.log(`${requests.length} accesses: made in ${made} ms, listed in ${listed}, repeated in ${repeated}, ended in ${ended}`);
  await transport.start(call);
  expect(await transport.list(call)).toEqual([]);
});

test('what others have made in LIO stays', async () => {
  const foreign = `${lioRoot}/iscsi/iqn.2003-01.org.linux-iscsi.lab:foreign`;
  const transport = await start();
  await transport.export(await requestOf(), call);
  await mkdir(`${foreign}/tpgt_1`, { recursive: true });
  expect(await transport.list(call)).toHaveLength(1);
  await transport.stop();
  expect(await readdir(`${lioRoot}/iscsi`)).toContain('iqn.2003-01.org.linux-iscsi.lab:foreign');
  await rmdir(`${foreign}/tpgt_1`);
  await rmdir(foreign);
  expect((await readdir(`${lioRoot}/core`)).filter((entry) => /^(iblock|fileio)_/.test(entry))).toEqual([]);
});
