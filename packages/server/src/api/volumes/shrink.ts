import { z } from 'zod';
import { route } from '../../http/route.ts';
import { announceOperation } from '../operations/announce.ts';
import { sizeInGibibytes } from '../request-fields.ts';

/** Below `/scoria/v1`: making a volume smaller, which Cinder does not have. */
export const volumeShrinkRoutes = [
  route({
    method: 'POST',
    path: '/volumes/:id/shrink',
    summary: 'Makes an available volume without snapshots smaller; what lay beyond its new end is lost',
    begins: true,
    body: z.strictObject({
      new_size: sizeInGibibytes.describe('GiB'),
      confirm: z.string().max(64).optional().describe('the id of the volume, to show that the loss is meant'),
    }),
    response: { 202: z.object({ operation_id: z.string() }) },
    async handler(call) {
      const { new_size: size, confirm } = call.body;
      const { operationId } = await call.storage.volumes.shrink(call.context, call.params.id, size, confirm);
      announceOperation(call, operationId);
      return { operation_id: operationId };
    },
  }),
];
