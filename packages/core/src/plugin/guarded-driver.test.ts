import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../test/manual-clock.ts';
import type { Extent } from '../device/block-device.ts';
import { silentLog } from '../platform/log.ts';
import type { AnyVolumeDriver } from '../volume/driver.ts';
import { Guard } from './guard.ts';
import { guardDriver } from './guarded-driver.ts';

const call = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const object = (placementId: string, size = 8192) => ({ placementId, pool: 'pool', backendRef: null, size });

const never = () => Promise.reject(new Error('not asked'));
const none: AnyVolumeDriver = {
  check: never,
  pools: never,
  create: never,
  delete: never,
  extend: never,
  createSnapshot: never,
  deleteSnapshot: never,
  list: async function* () {},
  locate: never,
};

function guarded(verbs: Partial<AnyVolumeDriver>): AnyVolumeDriver {
  const guard = new Guard('backend', new ManualClock(), silentLog, 'backend-failed');
  return guardDriver({ ...none, ...verbs }, guard, 'path');
}

async function* given(extents: readonly Extent[]) {
  yield* extents;
}

async function all<T>(items: AsyncIterable<T> | undefined): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items ?? []) found.push(item);
  return found;
}

describe('what a driver tells', () => {
  it.each([4095, 8193, Number.NaN])('of %s bytes after a shrink from 8192 to 4096 is not believed', async (size) => {
    const { shrink } = guarded({ shrink: async () => ({ size }) });
    await expect(shrink?.(object('a'), 4096, call)).rejects.toMatchObject({ code: 'backend-failed' });
  });

  const pool = { name: 'p', total: 10, free: 5, thin: true, maxOverSubscription: 1, reserved: 0, capabilities: {} };
  const made = { backendRef: 'x', size: 8192 };
  /** A driver without types answers whatever it likes. */
  const answering = (verb: keyof AnyVolumeDriver, answer: unknown) =>
    guarded(Object.fromEntries([[verb, () => Promise.resolve(answer)]]));

  it.each<[keyof AnyVolumeDriver, string, unknown]>([
    ['check', 'nothing', undefined],
    ['check', 'an id that is no UUID', { backendId: 'mine' }],
    ['pools', 'nothing', undefined],
    ['pools', 'a figure that is no number', [{ ...pool, total: Number.NaN }]],
    ['pools', 'a pool without capabilities', [{ ...pool, capabilities: undefined }]],
    ['pools', 'two pools of one name', [pool, pool]],
    ['create', 'nothing', undefined],
    ['create', 'no reference', { size: 8192 }],
    ['create', 'a reference that is a number', { ...made, backendRef: 17 }],
    ['create', 'a reference that is too long', { ...made, backendRef: 'x'.repeat(1025) }],
    ['create', 'a size in words', { ...made, size: '8192' }],
    ['create', 'too small a size', { ...made, size: 4096 }],
    ['extend', 'a bare number', 8192],
    ['createSnapshot', 'not whether it is filled', made],
    ['clone', 'nothing', undefined],
    ['createFromSnapshot', 'not whether it is filled', made],
    ['revert', 'nothing', undefined],
    ['locate', 'a locator of another shape', { device: '/dev/sdx' }],
    ['locate', 'a locator of a kind that its plug-in does not declare', { kind: 'odd', path: '/dev/sdx', blockSize: 512 }],
  ])('by %s, %s, is backend-failed and names the verb', async (verb, _what, answer) => {
    const driver = answering(verb, answer);
    const calls: Record<string, () => Promise<unknown> | undefined> = {
      check: () => driver.check(call),
      pools: () => driver.pools(call),
      create: () => driver.create(object('a'), call),
      extend: () => driver.extend(object('a'), 8192, call),
      createSnapshot: () => driver.createSnapshot(object('b'), object('a'), call),
      clone: () => driver.clone?.(object('b'), object('a'), call),
      createFromSnapshot: () => driver.createFromSnapshot?.(object('b'), object('a'), call),
      revert: () => driver.revert?.(object('a'), object('b'), call),
      locate: () => driver.locate(object('a'), call),
    };
    await expect(calls[verb]?.()).rejects.toMatchObject({ code: 'backend-failed', message: expect.stringContaining(verb) });
  });

  it.each([undefined, 'x', { placementId: 'a', kind: 'disk', pool: 'p', backendRef: 'x', size: 1, usedBytes: 0 }])(
    'in a list, %j, ends the list with backend-failed',
    async (item) => {
      const listing = async function* () {
        yield item;
      };
      const list = guarded(Object.fromEntries([['list', listing]])).list(call);
      await expect(all(list)).rejects.toMatchObject({ code: 'backend-failed', message: expect.stringContaining('list') });
    },
  );

  it('beyond what the contract names is let through', async () => {
    await expect(answering('pools', [{ ...pool, colour: 'blue' }]).pools(call)).resolves.toEqual([{ ...pool, colour: 'blue' }]);
  });

  it('of an empty volume that it took over is not believed', async () => {
    const { manage } = guarded({ manage: async () => ({ backendRef: 'a', size: 0 }) });
    await expect(manage?.(object('a', 0), 'old', call)).rejects.toMatchObject({ code: 'backend-failed' });
  });

  it.each([
    [
      'go back',
      [
        [4096, 512],
        [0, 512],
      ],
    ],
    [
      'overlap',
      [
        [0, 1024],
        [512, 1024],
      ],
    ],
    ['leave the object', [[8192, 512]]],
    ['are empty', [[0, 0]]],
    ['are no numbers', [[0, Number.NaN]]],
  ] as const)('of extents that %s is not believed', async (_what, pairs) => {
    const extents = pairs.map(([offset, length]) => ({ offset, length }));
    const driver = guarded({ allocatedExtents: () => given(extents), changedExtents: () => given(extents) });
    await expect(all(driver.allocatedExtents?.(object('a'), call))).rejects.toMatchObject({ code: 'backend-failed' });
    await expect(all(driver.changedExtents?.(object('a'), object('b'), call))).rejects.toMatchObject({ code: 'backend-failed' });
  });

  it('of extents, and throws on the way, has a code', async () => {
    const driver = guarded({
      allocatedExtents: async function* () {
        yield { offset: 0, length: 512 };
        throw new TypeError('oh');
      },
    });
    await expect(all(driver.allocatedExtents?.(object('a'), call))).rejects.toMatchObject({ code: 'backend-failed' });
  });
});

it('two who want one existing volume come one after the other', async () => {
  let under = 0;
  let most = 0;
  const { manage } = guarded({
    manage: async () => {
      most = Math.max(most, (under += 1));
      await Promise.resolve();
      under -= 1;
      return { backendRef: 'x', size: 512 };
    },
  });
  await Promise.all(['a', 'b', 'c'].map((id) => manage?.(object(id, 0), 'old', call)));
  expect(most).toBe(1);
});
