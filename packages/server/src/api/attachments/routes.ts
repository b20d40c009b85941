import { z } from 'zod';
import { action, nothing, route, type CallBase } from '../../http/route.ts';
import { anything } from '../request-fields.ts';
import { connectorOf } from './connector.ts';
import { attachmentListing } from './listing.ts';
import { attachmentSchema, attachmentSummarySchema, createAttachmentSchema, updateAttachmentSchema } from './schemas.ts';
import { attachmentSummaryView, attachmentView } from './views.ts';

async function listAttachments(call: CallBase) {
  const { query, empty, allProjects } = attachmentListing.read(call);
  return empty ? [] : call.storage.attachments.list(call.context, query, { allProjects });
}

/** Attachments: create, connect, complete, show, list, delete. */
export const attachmentRoutes = [
  route({
    method: 'POST',
    path: '/attachments',
    since: '3.27',
    summary: 'Reserves a volume for a machine and, with a connector, makes it reachable',
    body: createAttachmentSchema,
    response: { 200: z.object({ attachment: attachmentSchema }) },
    async handler(call) {
      const wanted = call.body.attachment;
      const { connector, mode, mountpoint } = connectorOf(wanted.connector ?? {});
      const attachment = await call.storage.attachments.create(call.context, {
        volumeId: wanted.volume_uuid,
        instanceId: wanted.instance_uuid,
        // Clients without a connector send an empty one.
        connector: Object.keys(wanted.connector ?? {}).length > 0 ? connector : undefined,
        mode: wanted.mode ?? mode,
        mountpoint,
      });
      return { attachment: await attachmentView(call, attachment) };
    },
  }),
  route({
    method: 'GET',
    path: '/attachments',
    since: '3.27',
    summary: 'Lists attachments, in short',
    query: attachmentListing.querySchema,
    response: { 200: z.object({ attachments: z.array(attachmentSummarySchema) }) },
    handler: async (call) => ({ attachments: (await listAttachments(call)).map(attachmentSummaryView) }),
  }),
  route({
    method: 'GET',
    path: '/attachments/detail',
    since: '3.27',
    summary: 'Lists attachments in full',
    query: attachmentListing.querySchema,
    response: { 200: z.object({ attachments: z.array(attachmentSchema) }) },
    async handler(call) {
      const rows = await listAttachments(call);
      return { attachments: await Promise.all(rows.map((attachment) => attachmentView(call, attachment))) };
    },
  }),
  route({
    method: 'GET',
    path: '/attachments/:id',
    since: '3.27',
    summary: 'Shows an attachment, with what its host needs to reach the volume',
    response: { 200: z.object({ attachment: attachmentSchema }) },
    handler: async (call) => ({
      attachment: await attachmentView(call, await call.storage.attachments.get(call.context, call.params.id)),
    }),
  }),
  route({
    method: 'PUT',
    path: '/attachments/:id',
    since: '3.27',
    summary: 'Names the host of a reserved attachment and makes the volume reachable for it',
    begins: true,
    body: updateAttachmentSchema,
    response: { 200: z.object({ attachment: attachmentSchema }) },
    async handler(call) {
      const request = connectorOf(call.body.attachment.connector);
      const attachment = await call.storage.attachments.update(call.context, call.params.id, request);
      return { attachment: await attachmentView(call, attachment) };
    },
  }),
  route({
    method: 'DELETE',
    path: '/attachments/:id',
    since: '3.27',
    summary: 'Ends an attachment, and its access when no other counts on it; answers with those that the volume still has',
    begins: true,
    response: { 200: z.object({ attachments: z.array(attachmentSummarySchema) }) },
    async handler({ storage, context, params }) {
      const { volumeId } = await storage.attachments.get(context, params.id);
      await storage.attachments.delete(context, params.id);
      const left = await storage.attachments.ofVolumes([volumeId]);
      return { attachments: left.map(attachmentSummaryView) };
    },
  }),
  action({
    path: '/attachments/:id/action',
    action: 'os-complete',
    since: '3.44',
    summary: 'Notes that the host uses the volume now',
    body: anything,
    response: { 204: nothing },
    async handler({ storage, context, params }) {
      await storage.attachments.complete(context, params.id);
    },
  }),
];
