import { z } from 'zod';
import { defineOperation } from '../operation/definition.ts';
import { backendObject } from '../placement/backends.ts';

const inputSchema = z.object({
  placementId: z.string(),
  /** A move may have left a mirror: the side of it that the volume lies on. `null` when there is no volume. */
  keep: z.enum(['source', 'target']).nullable(),
});
const stateSchema = z.object({ backendId: z.string().optional() });

/**
 * Removes what a placement names on its backend, then the placement. The transaction that begins it has proved that no
 * volume or snapshot names the placement, and its use of that resource keeps it so.
 */
export const collectPlacement = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'placement.collect',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'end-mirror',
      role: 'volume',
      when: (_state, input) => input.keep !== null,
      async run(context) {
        const { store, backends } = context.services;
        const { keep, placementId } = context.input;
        if (keep === null) return;
        const { backendId, resourceId } = await store.reading.placements.get(placementId);
        await backends.get(backendId).transport?.endMirror?.(resourceId, keep, context);
      },
    },
    {
      kind: 'effect',
      name: 'delete',
      role: 'volume',
      async run(context) {
        const { store, backends } = context.services;
        const placement = await store.reading.placements.get(context.input.placementId);
        const { driver } = backends.get(placement.backendId);
        const object = backendObject(placement);
        await (placement.kind === 'volume' ? driver.delete(object, context) : driver.deleteSnapshot(object, context));
      },
    },
    {
      kind: 'transaction',
      name: 'forget',
      role: 'volume',
      run: (transaction, { input }) => transaction.placements.remove(input.placementId),
    },
  ],
  // The placement stays, so the next pass finds it again.
  async failed() {},
});
