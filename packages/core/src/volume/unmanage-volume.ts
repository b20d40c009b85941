import { z } from 'zod';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation } from '../operation/definition.ts';
import type { BegunOperation, Operations } from '../operation/operations.ts';
import { backendOf, requireCapability } from '../placement/backend.ts';
import { backendObject } from '../placement/backends.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import { requireNoSnapshots } from './no-snapshots.ts';
import { requireUnused } from './unused-volume.ts';
import type { Volume } from './volume.ts';

const beforeSchema = z.enum(['available', 'error', 'error_managing']);
const inputSchema = z.object({
  volumeId: z.string(),
  placementId: z.string().nullable(),
  /** Its status before. */
  before: beforeSchema,
});
const stateSchema = z.object({ backendId: z.string().optional() });

/** Begins to let a volume go in the caller's transaction. `invalid-state` unless its status allows that and it has no snapshots. */
export async function beginUnmanaging(
  transaction: Transaction,
  operations: Operations,
  context: RequestContext,
  volume: Volume,
  now: number,
): Promise<BegunOperation> {
  const { id, projectId, placementId } = volume;
  await transaction.volumes.transition('every-project', id, 'unmanage', now);
  await requireUnused(transaction, volume);
  await requireNoSnapshots(transaction, id, 'would be left without their volume');
  const backend = placementId === null ? null : await backendOf(transaction, placementId);
  if (backend) requireCapability(backend, 'manage');
  transaction.emit({ name: 'volume.changed', payload: { volumeId: id, projectId, status: 'unmanaging' } });
  return operations.begin(transaction, unmanageVolume, context, {
    input: { volumeId: id, placementId, before: beforeSchema.parse(volume.status) },
    resourceKind: 'volume',
    resourceId: id,
    uses: [{ kind: 'volume', id, mode: 'change' }],
    backendId: backend?.id ?? null,
    projectId,
  });
}

/** Forgets a volume, which stays on its backend with its content. */
export const unmanageVolume = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'volume.unmanage',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'unmanage',
      role: 'volume',
      when: (_state, input) => input.placementId !== null,
      async run(context) {
        const { store, backends } = context.services;
        if (context.input.placementId === null) return;
        const placement = await store.reading.placements.get(context.input.placementId);
        const { name, driver } = backends.get(placement.backendId);
        if (!driver.unmanage) throw new ScoriaError('not-supported', `Backend ${name} cannot let go of volumes.`);
        await driver.unmanage(backendObject(placement), context);
      },
    },
    {
      kind: 'transaction',
      name: 'forget',
      role: 'scheduler',
      async run(transaction, { input, operation }) {
        const { volumeId, placementId } = input;
        await transaction.volumes.remove(volumeId);
        if (placementId !== null) await transaction.placements.remove(placementId);
        transaction.emit({ name: 'volume.deleted', payload: { volumeId, projectId: operation.projectId } });
      },
    },
  ],
  async failed(transaction, context, failure) {
    const { volumeId, before: status } = context.input;
    const { operation, now } = context;
    await transaction.volumes.transition('every-project', volumeId, 'unmanagingFailed', now, { to: status });
    transaction.emit({ name: 'volume.changed', payload: { volumeId, projectId: operation.projectId, status } });
    await leaveFailureMessage(transaction, context, failure);
  },
});
