import { silentLog, type BackendObject, type ManageableObject } from '@scoria/core';
import { beforeEach, describe, expect, test } from 'vitest';
import { call, LvmBench, MiB, request, thick } from './lvm-bench.ts';

// What an operator does to a group with LVM's own commands, while the driver looks away.

const unerased = { provisioning: 'thick', erase: 'none' };
let bench: LvmBench;
beforeEach(() => {
  bench = new LvmBench();
});

const nameOf = ({ placementId }: BackendObject) => `volume-${placementId}`;
function present(name: string) {
  const found = bench.lvm.volumes.get(name);
  if (!found) throw new Error(`There is no ${name}`);
  return found;
}

describe('a volume that has become another is neither removed nor served', () => {
  test.each([
    ['converted to RAID', 'rwi-a-r---'],
    ['cached', 'Cwi-a-C---'],
  ])('%s', async (_what, attr) => {
    const driver = await bench.checked(unerased);
    const volume = bench.thickVolume();
    present(nameOf(volume)).attr = attr;
    await driver.check(call);
    await bench.checked(unerased);
    expect(bench.lvm.counted()).not.toContain('lvremove');
    expect((await bench.listed(driver)).map(({ placementId }) => placementId)).toEqual([volume.placementId]);
    await expect(driver.locate(volume, call)).rejects.toMatchObject({ code: 'backend-failed' });
  });

  test.each([
    ['thick volumes, when the configuration says thin', unerased, {}],
    ['thin volumes, when the configuration says thick', {}, thick],
  ])('%s', async (_what, before, after) => {
    const driver = await bench.checked(before);
    const volume = before === unerased ? bench.thickVolume() : await bench.volume(driver);
    await bench.snapshot(driver, volume);
    const names = bench.names();
    const other = await bench.checked(after);
    await other.check(call);
    expect(bench.names()).toEqual(expect.arrayContaining([...names]));
    expect((await bench.listed(other)).length).toBe(2);
  });

  test('a thick volume can be deleted when the configuration says thin', async () => {
    await bench.checked(unerased);
    const volume = bench.thickVolume();
    const driver = await bench.checked();
    await driver.delete(volume, call);
    expect(bench.lvm.counted()).not.toContain('blkdiscard');
    expect(bench.names()).toEqual(['pool']);
  });

  test('one of which somebody has made a thick snapshot is served on', async () => {
    const driver = await bench.checked();
    const volume = await bench.volume(driver);
    present(nameOf(volume)).attr = 'owi-aotz--';
    bench.lvm.add({ name: 'backup', attr: 'swi-a-s---', origin: nameOf(volume) });
    await driver.check(call);
    expect((await driver.extend(volume, 16 * MiB, call)).size).toBe(16 * MiB);
    expect(bench.names()).toContain('backup');
  });
});

test.each(['volume', 'snapshot'] as const)('a %s under another name is neither taken for gone nor touched', async (kind) => {
  const driver = await bench.checked();
  const volume = await bench.volume(driver);
  const object = kind === 'volume' ? volume : await bench.snapshot(driver, volume);
  const name = `${kind === 'volume' ? 'volume' : 'snap'}-${object.placementId}`;
  const renamed = present(name);
  bench.lvm.volumes.delete(name);
  bench.lvm.add({ ...renamed, name: 'precious' });
  const after = await bench.checked();
  const told = {
    code: 'backend-failed',
    message: `vg/${name} is called vg/precious`,
    remedy: `Give it its name back: lvrename vg precious ${name}`,
  };
  await expect(after.locate(object, call)).rejects.toMatchObject(told);
  await expect(kind === 'volume' ? after.delete(object, call) : after.deleteSnapshot(object, call)).rejects.toMatchObject(told);
  expect(present('precious').tags).toEqual(renamed.tags);
});

describe('snapshots that somebody has made by hand', () => {
  test.each([
    ['is erased', { ...thick, erase: 'zero' }],
    ['is not erased', unerased],
  ])('survive the deletion of a thick volume that %s', async (_what, config) => {
    const driver = await bench.checked(config);
    const volume = bench.thickVolume();
    expect((await bench.listed(driver)).length).toBe(1);
    bench.lvm.add({ name: 'backup', attr: 'swi-a-s---', origin: nameOf(volume) });
    // Core repeats what is busy.
    await driver.delete(volume, call).catch(() => driver.delete(volume, call));
    expect(bench.names()).toEqual(['backup', `deleted-${volume.placementId}`]);
    expect(await bench.listed(driver)).toEqual([]);
    bench.lvm.volumes.delete('backup');
    const [left] = await bench.listed(driver);
    expect(left).toMatchObject({ placementId: volume.placementId, kind: 'volume' });
  });

  test('keep a thin volume from being deleted, and nothing of it is discarded', async () => {
    const driver = await bench.checked();
    const volume = await bench.volume(driver);
    bench.lvm.add({ name: 'backup', attr: 'swi-a-s---', origin: nameOf(volume) });
    const busy = { code: 'backend-busy', message: expect.stringMatching(/has snapshots/) };
    await expect(driver.delete(volume, call)).rejects.toMatchObject(busy);
    bench.lvm.counted();
    await expect(driver.delete(volume, call)).rejects.toMatchObject(busy);
    expect(bench.lvm.counted()).not.toContain('blkdiscard');
    expect(bench.names()).toContain('backup');
  });

  test('are not made larger before a volume is put back', async () => {
    const driver = await bench.checked(unerased);
    const volume = bench.thickVolume(64 * MiB);
    const snapshot = await bench.snapshot(driver, volume);
    bench.lvm.add({ name: 'backup', attr: 'swi-a-s---', origin: nameOf(volume) });
    await bench.listed(driver);
    const { size } = present('backup');
    await driver.revert?.(volume, snapshot, call);
    expect(present('backup').size).toBe(size);
  });
});

test('a foreign logical volume with a name of ours for passing things is not removed', async () => {
  const driver = await bench.checked();
  const volume = await bench.volume(driver);
  const snapshot = await bench.snapshot(driver, volume);
  bench.lvm.add({ name: `revert-${volume.placementId}` });
  await bench.listed(driver);
  await expect(driver.revert?.(volume, snapshot, call)).rejects.toMatchObject({ code: 'conflict' });
  expect(bench.names()).toContain(`revert-${volume.placementId}`);
});

describe('a thin pool that somebody has changed', () => {
  test('takes no volumes when it does not zero its chunks any more', async () => {
    const driver = await bench.checked();
    present('pool').zeroes = false;
    bench.clock.advance(60_000);
    await expect(driver.pools(call)).rejects.toMatchObject({ code: 'invalid-configuration' });
  });

  test('is deleted from without discards when it ignores them', async () => {
    bench.lvm.addPool('pool').discards = 'ignore';
    const driver = await bench.checked();
    await driver.delete(await bench.volume(driver), call);
    expect(bench.lvm.counted()).not.toContain('blkdiscard');
    expect(bench.names()).toEqual(['pool']);
  });

  test('keeps its volumes from being made smaller when it takes discards without doing anything', async () => {
    const driver = await bench.checked();
    const volume = await bench.volume(driver);
    present('pool').health = 'metadata_read_only';
    await expect(driver.shrink?.(volume, 4 * MiB, call)).rejects.toMatchObject({
      code: 'backend-failed',
      message: expect.stringMatching(/metadata_read_only/),
    });
    expect(present(nameOf(volume)).size).toBe(8 * MiB);
  });
});

describe('taking over', () => {
  async function offered(config: Record<string, unknown>): Promise<readonly ManageableObject[]> {
    const driver = await bench.checked(config);
    const found: ManageableObject[] = [];
    for await (const object of driver.listManageable?.(call) ?? []) found.push(object);
    return found;
  }

  test('a name is looked for in the group alone', async () => {
    const driver = await bench.checked(thick);
    bench.lvm.add({ name: 'mydata' });
    await expect(driver.manage?.(request(0), 'myvg/data', call)).rejects.toMatchObject({ code: 'not-found' });
    expect((await driver.manage?.(request(0), '/dev/vg/mydata', call))?.size).toBe(4 * MiB);
  });

  test.each([
    ['an external origin of thin volumes', 'base', thick, /Thin volumes show/],
    ['a thin volume that shows an external origin', 'child', {}, /outside of its thin pool/],
    ['a snapshot of such a volume', 'grandchild', {}, /outside of its thin pool/],
    ['what is read-only', 'fixed', thick, /read-only/],
  ])('%s is refused', async (_what, name, config, reason) => {
    bench.lvm.addPool('pool');
    bench.lvm.add({ name: 'base', attr: 'owi-a-----' });
    bench.lvm.add({ name: 'child', attr: 'Vwi-a-tz--', pool: 'pool', origin: 'base' });
    bench.lvm.add({ name: 'grandchild', attr: 'Vwi-a-tz--', pool: 'pool', origin: 'child' });
    bench.lvm.add({ name: 'fixed', attr: '-ri-a-----' });
    const found = (await offered(config)).find(({ reference }) => reference === `vg/${name}`);
    expect(found?.refusal).toMatch(reason);
  });

  test.each(['data', `volume-${request().placementId}`, `snap-${request().placementId}`])(
    'one of %s that died before it had the name is undone, by a check or by letting go',
    async (name) => {
      const driver = await bench.checked(unerased);
      bench.lvm.add({ name });
      for (const undo of ['check', 'unmanage']) {
        const target = request(0);
        bench.lvm.instead = (verb) => {
          if (verb === 'lvrename') throw new Error('killed');
          return undefined;
        };
        await expect(driver.manage?.(target, name, call)).rejects.toThrow('killed');
        bench.lvm.instead = () => undefined;
        await (undo === 'check' ? driver.check(call) : driver.unmanage?.(target, call));
        expect(present(name).tags).toEqual([]);
      }
    },
  );

  test('one that died after it had the name is finished by a check, and nothing is removed', async () => {
    const driver = await bench.checked(unerased);
    bench.lvm.add({ name: 'data', size: 8 * MiB });
    const target = request(0);
    let isRenamed = false;
    bench.lvm.instead = (verb) => {
      if (isRenamed) throw new Error('killed');
      isRenamed = verb === 'lvrename';
      return undefined;
    };
    await expect(driver.manage?.(target, 'data', call)).rejects.toThrow('killed');
    bench.lvm.instead = () => undefined;
    const after = await bench.checked(unerased);
    expect(bench.names()).toEqual([nameOf(target)]);
    const taken = { ...target, ...(await after.manage?.(target, 'data', call)) };
    expect(taken.size).toBe(8 * MiB);
    expect((await bench.listed(after)).length).toBe(1);
    await after.unmanage?.(taken, call);
    expect(present(nameOf(target)).tags).toEqual([]);
  });
});

describe('a check', () => {
  test('leaves to core what would take long, and lists it', async () => {
    const driver = await bench.checked(thick);
    const [half, gone] = [request(), request()];
    bench.lvm.add({ name: nameOf(half), tags: bench.tags(half, 'volume', []) });
    bench.lvm.add({ name: `deleted-${gone.placementId}`, tags: bench.tags(gone) });
    bench.lvm.add({ name: `growth-${half.placementId}`, tags: bench.tags(half, 'volume', []) });
    await driver.check(call);
    expect(bench.names()).toEqual([`deleted-${gone.placementId}`, nameOf(half)]);
    const listed = (await bench.listed(driver)).map(({ placementId }) => placementId);
    expect(listed.toSorted()).toEqual([half.placementId, gone.placementId].toSorted());
    const deleter = await bench.checked(unerased);
    for (const each of [half, gone]) await deleter.delete(each, call);
    expect(bench.names()).toEqual([]);
  });

  test('does not wait for volumes that are being worked on', async () => {
    const driver = await bench.checked(unerased);
    const volume = bench.thickVolume();
    bench.lvm.add({ name: `growth-${volume.placementId}`, tags: bench.tags(volume, 'volume', []) });
    await bench.listed(driver);
    const { promise: held, resolve: release } = Promise.withResolvers<undefined>();
    bench.lvm.instead = (verb) => (verb === 'dmsetup' ? held : undefined);
    const deleting = driver.delete(volume, call);
    await driver.check(call);
    release(undefined);
    await deleting;
    expect(bench.names()).toEqual([]);
  });

  test('goes on when a logical volume cannot be activated', async () => {
    const told: string[] = [];
    const log = { ...silentLog, error: (_fields: object, message: string) => void told.push(message) };
    const driver = await bench.checked({}, log);
    present(nameOf(await bench.volume(driver))).active = false;
    bench.lvm.instead = (verb, { args }) =>
      verb === 'lvchange' && args.includes('--activate') ? { exitCode: 5, stdout: '', stderr: 'no' } : undefined;
    await bench.start({}, { log }).check(call);
    expect(told).toEqual(['Volume group vg has logical volumes that cannot be activated']);
  });
});

test('a copy that was filled when its process died lets go of its source', async () => {
  const driver = await bench.checked(unerased);
  const [source, target] = [bench.thickVolume(), bench.thickVolume()];
  const tags = bench.tags(target, 'snapshot', []);
  bench.lvm.add({ name: `copy-${target.placementId}`, attr: 'swi-a-s---', origin: nameOf(source), tags });
  await driver.clone?.(target, source, call);
  expect(bench.names()).toEqual([nameOf(source), nameOf(target)].toSorted());
});

test('a volume that somebody has deactivated is looked at again when a verb has failed', async () => {
  const driver = await bench.checked();
  const volume = await bench.volume(driver);
  present(nameOf(volume)).active = false;
  bench.lvm.instead = (verb) => {
    if (verb === 'blkdiscard') throw new Error('No such file or directory');
    return undefined;
  };
  await expect(driver.delete(volume, call)).rejects.toThrow('No such file');
  await driver.delete(volume, call);
  expect(bench.names()).toEqual(['pool']);
});
