import { exists, must, volumeOf } from './expectations.ts';
import type { Prepared, Scenario } from './scenario.ts';
import { alice, connector, type Site } from './site.ts';

async function connection(site: Site): Promise<Prepared> {
  const volumeId = await site.volume(10);
  const { storage } = await site.running();
  const { id } = await site.time.drive(storage.attachments.create(alice, { volumeId, instanceId: 'machine' }));
  return {
    begin: (begun) => begun.attachments.update(alice, id, { connector }),
    async expect(outcome) {
      const { status, accessId } = await site.store.reading.attachments.get('every-project', id);
      const volume = await volumeOf(site, volumeId);
      const wanted = outcome === 'done' ? 'attaching' : 'reserved';
      must(status === wanted && volume.status === wanted, `attachment and volume are ${status} and ${volume.status}`);
      must((accessId !== null) === (outcome === 'done'), `the attachment counts on ${accessId}`);
    },
  };
}

/** An attachment that is asked for with its connection. */
async function attaching(site: Site): Promise<Prepared> {
  const volumeId = await site.volume(10);
  return {
    begin: (storage) => storage.attachments.create(alice, { volumeId, connector }),
    async expect(outcome) {
      const attachments = await site.store.reading.attachments.ofVolumes([volumeId]);
      const { status } = await volumeOf(site, volumeId);
      const [count, wanted] = outcome === 'done' ? [1, 'attaching'] : [0, 'available'];
      must(attachments.length === count && status === wanted, `${attachments.length} attachments, the volume is ${status}`);
    },
  };
}

async function disconnection(site: Site): Promise<Prepared> {
  const volumeId = await site.volume(10);
  const id = await site.attach(volumeId);
  return {
    begin: (storage) => storage.attachments.delete(alice, id),
    async expect(outcome) {
      const there = await exists(site.store.reading.attachments.get('every-project', id));
      const { status } = await volumeOf(site, volumeId);
      const wanted = outcome === 'done' ? 'available' : 'in-use';
      must(there === (outcome === 'undone') && status === wanted, `the volume is ${status}`);
    },
  };
}

/** Connections that come and go. */
export const attachmentScenarios: readonly Scenario[] = [
  { name: 'a connection', operation: 'attachment.connect', arrays: ['instant'], prepare: connection },
  {
    name: 'a connection that the target refuses',
    operation: 'attachment.connect',
    arrays: ['instant'],
    broken: 'transport.export',
    prepare: connection,
  },
  { name: 'an attachment with its connection', operation: 'attachment.connect', arrays: ['instant'], prepare: attaching },
  {
    name: 'an attachment whose connection the target refuses',
    operation: 'attachment.connect',
    arrays: ['instant'],
    broken: 'transport.export',
    prepare: attaching,
  },
  { name: 'the end of a connection', operation: 'attachment.disconnect', arrays: ['instant', 'file'], prepare: disconnection },
];
