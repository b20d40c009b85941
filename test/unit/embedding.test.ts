import { afterEach, describe, expect, it } from 'vitest';
import type { BlockStorage } from '@scoria/core';
import { startStorage, tour } from '../../examples/embed.ts';
import { caller } from './instance.ts';

const project = 'embedded';
const context = caller(project);

describe('block storage embedded in another program', () => {
  const running: BlockStorage[] = [];
  const start = async () => {
    const storage = await startStorage();
    running.push(storage);
    return storage;
  };
  afterEach(async () => {
    await Promise.all(running.splice(0).map((storage) => storage.stop()));
  });

  it('makes a volume and a snapshot, and tells of both by events', async () => {
    const storage = await start();
    const told = (await tour(storage, project)).map(({ name, payload }) => `${name} ${payload['status']}`);
    expect(told.filter((line) => line.startsWith('volume.'))).toEqual(['volume.changed creating', 'volume.changed available']);
    expect(told).toContain('snapshot.changed available');
    const [volume] = await storage.volumes.list(context, {});
    expect(volume).toMatchObject({ name: 'first', status: 'available' });
  });

  it('does not see another instance in the same process: no rows, no events, no capacity, no plug-ins', async () => {
    const [one, other] = [await start(), await start()];
    const overheard: unknown[] = [];
    using _subscription = other.events.subscribe(caller('any', true), (event) => overheard.push(event), { allProjects: true });
    await tour(one, project);
    await tour(one, project);

    expect(await one.volumes.count(context, {})).toBe(2);
    expect(await other.volumes.count(context, {})).toBe(0);
    expect(overheard).toEqual([]);
    expect(await other.operations.list(caller('any', true), {}, { allProjects: true })).toEqual([]);
    const admin = caller('any', true);
    const allocated = async (storage: BlockStorage) => (await storage.pools.list(admin)).map((pool) => pool.allocated);
    expect(await allocated(one)).not.toEqual([0]);
    expect(await allocated(other)).toEqual([0]);
    expect(one.volumes).not.toBe(other.volumes);
  });

  it('goes on when the other instance in the process is stopped', async () => {
    const [one, other] = [await start(), await start()];
    await running.splice(running.indexOf(one), 1)[0]?.stop();
    await tour(other, project);
    expect(await other.volumes.count(context, {})).toBe(1);
  });
});
