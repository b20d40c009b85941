import { attachedVolume, must, volumeOf } from './expectations.ts';
import type { Prepared, Scenario } from './scenario.ts';
import { alice, root, type Site } from './site.ts';

function move(site: Site, volumeId: string, how: 'retype' | 'migrate', settled: 'available' | 'in-use'): Prepared {
  return {
    begin: (storage) =>
      how === 'retype'
        ? storage.moves.retype(alice, volumeId, 'there', 'on-demand')
        : storage.moves.migrate(root, volumeId, 'host@there'),
    async expect(outcome) {
      const { status, hostString } = await volumeOf(site, volumeId);
      must(status === settled, `the volume is ${status}`);
      // A failure after the switch leaves the volume where it was to go.
      const places = outcome === 'done' ? ['host@there#pool'] : ['host@here#pool', 'host@there#pool'];
      must(places.includes(hostString ?? ''), `the volume lies on ${hostString}`);
    },
  };
}

/** Volumes that go to another array. */
export const moveScenarios: readonly Scenario[] = [
  {
    name: 'a retype that moves',
    operation: 'volume.retype',
    arrays: ['instant'],
    prepare: async (site) => move(site, await site.volume(10), 'retype', 'available'),
  },
  {
    name: 'a retype in use',
    operation: 'volume.retype',
    arrays: ['instant'],
    prepare: async (site) => move(site, await attachedVolume(site), 'retype', 'in-use'),
  },
  {
    name: 'a retype that cannot be committed',
    operation: 'volume.retype',
    arrays: ['instant'],
    broken: 'transport.commitMirror',
    prepare: async (site) => move(site, await attachedVolume(site), 'retype', 'in-use'),
  },
  {
    name: 'a migration in use',
    operation: 'volume.migrate',
    arrays: ['instant'],
    prepare: async (site) => move(site, await attachedVolume(site), 'migrate', 'in-use'),
  },
  {
    name: 'a migration that cannot be committed',
    operation: 'volume.migrate',
    arrays: ['instant'],
    broken: 'transport.commitMirror',
    prepare: async (site) => move(site, await site.volume(10), 'migrate', 'available'),
  },
];
