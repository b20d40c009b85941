import { z } from 'zod';
import { defineOperation } from '../operation/definition.ts';

const inputSchema = z.object({ accessId: z.string() });
const stateSchema = z.object({ backendId: z.string().optional() });

/** Publishes an open access again that its target has lost. Its use of the access keeps a detachment from coming between. */
export const publishAccess = defineOperation<z.infer<typeof inputSchema>, z.infer<typeof stateSchema>>({
  name: 'access.publish',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'export',
      role: 'volume',
      async run(context) {
        const { store, backends } = context.services;
        const access = await store.reading.accesses.get(context.input.accessId);
        const placement = await store.reading.placements.get(access.placementId);
        const backend = backends.get(placement.backendId);
        const request = await backends.exportRequest(access, placement, backend, context);
        await backends.transportOf(placement.backendId).export(request, context);
      },
    },
  ],
  async failed() {},
});
