import { z } from 'zod';
import { defineOperation } from '../operation/definition.ts';

const inputSchema = z.object({ accessId: z.string() });
const stateSchema = z.object({ backendId: z.string().optional() });

/** Ends an access on which no attachment counts. The transaction that begins it has set it to `ending`, so none will. */
export const endAccess = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'access.end',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'fence',
      role: 'volume',
      async run(context) {
        const { store, backends } = context.services;
        const { placementId } = await store.reading.accesses.get(context.input.accessId);
        const { backendId } = await store.reading.placements.get(placementId);
        await backends.transportOf(backendId).unexport(context.input.accessId, context);
      },
    },
    {
      kind: 'transaction',
      name: 'forget',
      role: 'volume',
      run: (transaction, { input }) => transaction.accesses.remove(input.accessId),
    },
  ],
  // The access stays `ending`, so the next pass finds it again.
  async failed() {},
});
