import { operationRegistry, ScoriaError } from '@scoria/core';
import { afterEach, expect, it, vi } from 'vitest';
import { volumeSize } from './content.ts';
import { withSite } from './scenario-sites.ts';
import { alice } from './site.ts';

afterEach(() => vi.restoreAllMocks());

it('an operation ends, and says why, though a step in the store refuses to be undone', async () => {
  const place = operationRegistry.get('volume.create')?.steps.find(({ name }) => name === 'place');
  if (place?.kind !== 'transaction' || !place.undo) throw new Error('The step is not undone in the store');
  vi.spyOn(place, 'undo').mockRejectedValue(new Error('It cannot be undone'));
  await withSite('instant', async (site) => {
    const { process, storage } = await site.running();
    process.probe = {
      verb: async (name, proceed) => {
        if (name === 'driver.create') throw new ScoriaError('not-supported', 'The test lets it fail.');
        return proceed();
      },
    };
    const { volume, operationId } = await site.time.drive(
      storage.volumes.create(alice, { size: volumeSize, volumeType: 'here' }),
    );
    const begun = site.time.now;
    await expect(site.time.drive(storage.operations.wait(operationId, 600_000))).rejects.toMatchObject({ code: 'not-supported' });
    expect(site.time.now - begun).toBeLessThan(10_000);
    expect(await storage.volumes.get(alice, volume.id)).toMatchObject({ status: 'error' });
    const journal = await storage.operations.journal(alice, operationId);
    expect(journal.slice(-2)).toMatchObject([
      { step: 'place', event: 'failed', error: { message: 'It cannot be undone' } },
      { event: 'ended' },
    ]);
    // Its claim is still known, and goes with the volume.
    vi.restoreAllMocks();
    const deletion = await site.time.drive(storage.volumes.delete(alice, volume.id));
    await site.time.drive(storage.operations.wait(deletion.operationId, 60_000));
    expect((await site.store.reading.placements.claims()).filter(({ claimed }) => claimed > 0)).toEqual([]);
  });
});
