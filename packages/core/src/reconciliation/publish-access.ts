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
      run: (context) => context.services.backends.publish(context.input.accessId, context),
    },
  ],
  async failed() {},
});
