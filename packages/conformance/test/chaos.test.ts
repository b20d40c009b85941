import {
  chaosDriver,
  chaosTransport,
  RecordingLog,
  startDriver,
  startTransport,
  type ChaosOptions,
  type InjectedFault,
} from '@scoria/conformance';
import { definePlugin, deviceLocatorSchema, systemRandom, type PluginCall, noExec } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { expect, test } from 'vitest';
import { LoopbackTransport } from './loopback-transport.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const request = () => ({ placementId: systemRandom.uuid(), pool: 'pool', backendRef: null, size: 4096 });

async function driverWith(options: ChaosOptions) {
  const backend = new MemoryBackend({ backendId: systemRandom.uuid() });
  const { driver } = await startDriver(chaosDriver(memoryDriver({ backend }), options), {}, { baseDirectory: '/' });
  return { backend, driver };
}

/** Calls `create` many times and tells which calls failed and which left a volume. */
async function history(options: ChaosOptions) {
  const faults: InjectedFault[] = [];
  const { backend, driver } = await driverWith({ ...options, onFault: (fault) => faults.push(fault) });
  const outcomes: string[] = [];
  for (let count = 0; count < 100; count++) {
    const wanted = request();
    const ended = await driver.create(wanted, call).then(
      () => 'done',
      (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : 'no code'),
    );
    outcomes.push(`${ended}, ${backend.objects.has(wanted.placementId) ? 'there' : 'not there'}`);
  }
  return { outcomes, faults };
}

test('without shares nothing happens', async () => {
  const { outcomes, faults } = await history({ seed: 1 });
  expect(new Set(outcomes)).toEqual(new Set(['done, there']));
  expect(faults).toEqual([]);
});

test('failed calls do nothing, lost replies come after the deed, and each is told', async () => {
  const { outcomes, faults } = await history({ seed: 1, failures: 0.2, lostReplies: 0.2 });
  const count = (outcome: string) => outcomes.filter((each) => each === outcome).length;
  expect(new Set(outcomes)).toEqual(new Set(['done, there', 'backend-unavailable, not there', 'backend-unavailable, there']));
  expect(count('backend-unavailable, not there')).toBe(faults.filter(({ kind }) => kind === 'failure').length);
  expect(count('backend-unavailable, there')).toBe(faults.filter(({ kind }) => kind === 'lost-reply').length);
  for (const outcome of new Set(outcomes)) expect(count(outcome)).toBeGreaterThan(5);
});

test('the same seed gives the same faults, another seed others', async () => {
  const options = { failures: 0.3, lostReplies: 0.1 };
  const first = await history({ ...options, seed: 42 });
  expect(await history({ ...options, seed: 42 })).toEqual(first);
  expect((await history({ ...options, seed: 43 })).faults).not.toEqual(first.faults);
});

test('faults befall only the verbs that were named', async () => {
  const { driver } = await driverWith({ seed: 1, failures: 1, verbs: ['delete'] });
  const wanted = request();
  await driver.create(wanted, call);
  await expect(driver.delete(wanted, call)).rejects.toMatchObject({ code: 'backend-unavailable', retryable: true });
  await driver.locate(wanted, call);
});

test('whoever repeats until it succeeds gets what a sound driver gives', async () => {
  const { backend, driver } = await driverWith({
    seed: 3,
    failures: 0.4,
    lostReplies: 0.4,
    verbs: ['create', 'extend', 'delete'],
  });
  const untilDone = async <T>(verb: () => Promise<T>): Promise<T> => {
    for (let tries = 0; tries < 100; tries++) {
      try {
        return await verb();
      } catch (error) {
        expect(error).toMatchObject({ code: 'backend-unavailable' });
      }
    }
    throw new Error('a hundred tries were not enough');
  };
  const [kept, dropped] = [request(), request()];
  const made = await untilDone(() => driver.create(kept, call));
  await untilDone(() => driver.create(dropped, call));
  expect((await untilDone(() => driver.extend({ ...kept, ...made }, 8192, call))).size).toBe(8192);
  await untilDone(() => driver.delete(dropped, call));
  expect(Array.from(backend.objects.values(), ({ placementId, size }) => ({ placementId, size }))).toEqual([
    { placementId: kept.placementId, size: 8192 },
  ]);
});

test('a list fails before its first item, or after its last', async () => {
  const list = async (options: ChaosOptions) => {
    const { driver } = await driverWith({ ...options, verbs: ['list'] });
    for (let count = 0; count < 3; count++) await driver.create(request(), call);
    let seen = 0;
    const listing = (async () => {
      for await (const _object of driver.list(call)) seen++;
    })();
    await expect(listing).rejects.toMatchObject({ code: 'backend-unavailable' });
    return seen;
  };
  expect(await list({ seed: 1, failures: 1 })).toBe(0);
  expect(await list({ seed: 1, lostReplies: 1 })).toBe(3);
});

test('a delayed call waits on the clock it was given, and ends with its signal unless it ignores that', async () => {
  const slept: (number | undefined)[] = [];
  const backend = new MemoryBackend({ backendId: systemRandom.uuid() });
  const make = (ignoreAborts: number) =>
    chaosDriver(memoryDriver({ backend }), { seed: 1, delays: { share: 1, longest: 50 }, ignoreAborts }).create({
      name: 'chaos',
      config: {},
      installationId: systemRandom.uuid(),
      baseDirectory: '/',
      random: systemRandom,
      log: new RecordingLog(),
      exec: noExec,
      clock: {
        now: () => 0,
        monotonic: () => 0,
        timer: () => ({ [Symbol.dispose]: () => {} }),
        sleep: async (ms, signal) => {
          signal?.throwIfAborted();
          slept.push(ms);
        },
      },
    });
  await make(0).create(request(), call);
  expect(slept).toHaveLength(1);
  expect(slept[0]).toBeGreaterThan(0);
  expect(slept[0]).toBeLessThanOrEqual(50);
  const aborted = { ...call, signal: AbortSignal.abort(new Error('cancelled')) };
  await expect(make(0).create(request(), aborted)).rejects.toThrow('cancelled');
  const wanted = request();
  await make(1).create(wanted, aborted);
  expect(backend.objects.has(wanted.placementId)).toBe(true);
});

test('the plug-in takes the place of the sound one: name, configuration, capabilities and devices are the same', () => {
  const sound = memoryDriver({ backend: new MemoryBackend({ backendId: systemRandom.uuid() }) });
  const { create: _ours, ...chaos } = chaosDriver(sound, { seed: 1 });
  const { create: _theirs, ...expected } = sound;
  expect(chaos).toEqual(expected);
});

test('a share outside 0 to 1 is refused by name', () => {
  const sound = memoryDriver({ backend: new MemoryBackend({ backendId: systemRandom.uuid() }) });
  expect(() => chaosDriver(sound, { seed: 1, failures: 20 })).toThrow(/"failures".*20/);
  expect(() => chaosDriver(sound, { seed: 1, delays: { share: -1, longest: 5 } })).toThrow(/"delays.share"/);
});

test('a transport loses replies as well; stop and connectionInfo work as ever', async () => {
  const loopback = definePlugin({
    name: 'loopback',
    kind: 'transport',
    api: '^1.0',
    config: deviceLocatorSchema.pick({}),
    create: ({ log }) => new LoopbackTransport(log),
  });
  const options = { seed: 1, lostReplies: 1, verbs: ['export'] };
  const { transport, volumes, cleanup } = await startTransport(chaosTransport(loopback, options));
  const access = {
    accessId: systemRandom.uuid(),
    volumeId: systemRandom.uuid(),
    device: await volumes.create(4096),
    readOnly: false,
    secret: 'secret-of-the-test',
  };
  try {
    await transport.start(call);
    await expect(transport.export(access, call)).rejects.toMatchObject({ code: 'transport-failed' });
    expect((await transport.list(call)).map(({ accessId }) => accessId)).toEqual([access.accessId]);
    expect(transport.connectionInfo(access).driverVolumeType).toBe('loopback');
    expect(transport.reaches).toEqual(['path']);
  } finally {
    await transport.stop();
    await cleanup();
    await volumes.remove();
  }
});
