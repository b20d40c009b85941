import { type AcceptedRequest, type BlockStorage, operationRegistry } from '@scoria/core';
import type { Prepared, Scenario } from './scenario.ts';
import { root, type Site } from './site.ts';

type Work = Parameters<BlockStorage['operations']['accept']>[1];
type Transaction = Parameters<Work>[0];
type Beginning = Parameters<BlockStorage['operations']['begin']>[3];

/** Begins an operation that only the reconciler begins, in one transaction with what makes it needed. */
function reconciled(name: string, make: (transaction: Transaction) => Promise<Beginning>) {
  return (storage: BlockStorage): Promise<AcceptedRequest> =>
    storage.operations.accept(root, async (transaction) => {
      const definition = operationRegistry.get(name);
      if (!definition) throw new Error(`There is no operation ${name}`);
      return storage.operations.begin(transaction, definition, root, await make(transaction));
    });
}

async function placementOf(site: Site, volumeId: string) {
  const { placementId } = await site.store.reading.volumes.get('every-project', volumeId);
  return site.store.reading.placements.get(placementId ?? '');
}

/** A placement whose volume or snapshot has gone without it. */
async function collection(site: Site, kind: 'volume' | 'snapshot', keep: 'source' | null): Promise<Prepared> {
  const volumeId = await site.volume(10);
  const id = kind === 'volume' ? volumeId : await site.snapshot(volumeId);
  const { reading } = site.store;
  const placement =
    kind === 'volume'
      ? await placementOf(site, id)
      : await reading.placements.get((await reading.snapshots.get('every-project', id)).placementId ?? '');
  return {
    begin: reconciled('placement.collect', async (transaction) => {
      await (kind === 'volume' ? transaction.volumes : transaction.snapshots).remove(id);
      return {
        input: { placementId: placement.id, keep },
        resourceKind: kind,
        resourceId: id,
        uses: [{ kind, id, mode: 'change' }],
        backendId: placement.backendId,
        projectId: '',
      };
    }),
    async expect(outcome) {
      const there = (await site.objects()).has(placement.id);
      if (there === (outcome === 'done')) throw new Error(`the object is ${there ? 'still there' : 'gone'}`);
    },
  };
}

async function attached(site: Site) {
  const volumeId = await site.volume(10);
  const attachmentId = await site.attach(volumeId);
  const { accessId } = await site.store.reading.attachments.get('every-project', attachmentId);
  const { backendId } = await placementOf(site, volumeId);
  return { volumeId, attachmentId, accessId: accessId ?? '', backendId };
}

const onAccess = (volumeId: string, accessId: string, backendId: string): Beginning => ({
  input: { accessId },
  resourceKind: 'volume',
  resourceId: volumeId,
  uses: [{ kind: 'access', id: accessId, mode: 'change' }],
  backendId,
  projectId: 'alice',
});

async function publication(site: Site): Promise<Prepared> {
  const { volumeId, accessId, backendId } = await attached(site);
  return {
    begin: reconciled('access.publish', async () => {
      site.target.exports.delete(accessId);
      return onAccess(volumeId, accessId, backendId);
    }),
    async expect(outcome) {
      if (outcome === 'done' && !site.target.exports.has(accessId)) throw new Error('the access is not published');
    },
  };
}

async function ending(site: Site): Promise<Prepared> {
  const { volumeId, attachmentId, accessId, backendId } = await attached(site);
  return {
    begin: reconciled('access.end', async (transaction) => {
      await transaction.attachments.remove(attachmentId);
      await transaction.volumes.transition('every-project', volumeId, 'attachmentsChanged', site.time.now, { to: 'available' });
      await transaction.accesses.setState(accessId, 'ending');
      return onAccess(volumeId, accessId, backendId);
    }),
    async expect(outcome) {
      const there = site.target.exports.has(accessId);
      if (there === (outcome === 'done')) throw new Error(`the access is ${there ? 'still' : 'not'} published`);
    },
  };
}

/** The operations that the reconciler begins. */
export const reconciliationScenarios: readonly Scenario[] = [
  {
    name: 'the placement of a volume that is gone',
    operation: 'placement.collect',
    arrays: ['instant', 'file'],
    prepare: (site) => collection(site, 'volume', 'source'),
  },
  {
    name: 'the placement of a snapshot that is gone',
    operation: 'placement.collect',
    arrays: ['instant'],
    prepare: (site) => collection(site, 'snapshot', null),
  },
  {
    name: 'an access that its target has lost',
    operation: 'access.publish',
    arrays: ['instant'],
    prepare: publication,
  },
  {
    name: 'an access without attachments',
    operation: 'access.end',
    arrays: ['instant'],
    prepare: ending,
  },
];
