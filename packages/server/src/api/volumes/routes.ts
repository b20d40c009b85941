import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { nothing, route, type CallBase } from '../../http/route.ts';
import { since } from '../../http/versioned-schema.ts';
import { flagOf, pageLinks, pageLinksSchema } from '../listing.ts';
import { announceOperation } from '../operations/announce.ts';
import { gibibytes } from '../request-fields.ts';
import { volumeListing } from './listing.ts';
import { createVolumeSchema, updateVolumeSchema, volumeSchema, volumeSummarySchema } from './schemas.ts';
import { oneVolumeView, volumeSummaryView, volumeViews } from './views.ts';

const count = since('3.45', z.int().optional());

async function listVolumes(call: CallBase) {
  const { query, empty, allProjects, withCount } = volumeListing.read(call);
  const { volumes } = call.storage;
  const [rows, total] = await Promise.all([
    empty ? [] : volumes.list(call.context, query, { allProjects }),
    withCount && !empty ? volumes.count(call.context, query, { allProjects }) : 0,
  ]);
  return { rows, page: { volumes_links: pageLinks(call, rows), count: withCount ? total : undefined } };
}

function refuseAbsentFeatures(volume: z.output<typeof createVolumeSchema>['volume']): void {
  const refuse = (what: string) => new ScoriaError('not-supported', `A volume cannot be made ${what} here`);
  if (volume.imageRef !== undefined || volume.image_id !== undefined)
    throw refuse('from an image: no image service is configured');
  if (volume.backup_id !== undefined) throw refuse('from a backup: no backup service is configured');
  if (volume.group_id !== undefined || volume.consistencygroup_id !== undefined) throw refuse('in a group: there are no groups');
}

/** Volumes: create, show, list, change, delete, and figures over all of them. */
export const volumeRoutes = [
  route({
    method: 'POST',
    path: '/volumes',
    summary: 'Creates a volume: empty, from a snapshot, or as a copy of another volume',
    begins: true,
    body: createVolumeSchema,
    response: { 202: z.object({ volume: volumeSchema }) },
    async handler(call) {
      const { volume: wanted } = call.body;
      refuseAbsentFeatures(wanted);
      const { volume, operationId } = await call.storage.volumes.create(call.context, {
        size: wanted.size ?? undefined,
        name: wanted.name ?? wanted.display_name,
        description: wanted.description ?? wanted.display_description,
        volumeType: wanted.volume_type,
        availabilityZone: wanted.availability_zone,
        snapshotId: wanted.snapshot_id,
        sourceVolumeId: wanted.source_volid,
        metadata: wanted.metadata ?? undefined,
        multiattach: wanted.multiattach ?? undefined,
      });
      announceOperation(call, operationId);
      return oneVolumeView(call, volume);
    },
  }),
  route({
    method: 'GET',
    path: '/volumes',
    summary: 'Lists volumes, in short',
    query: volumeListing.querySchema,
    response: { 200: z.object({ volumes: z.array(volumeSummarySchema), volumes_links: pageLinksSchema, count }) },
    async handler(call) {
      const { rows, page } = await listVolumes(call);
      return { volumes: rows.map((volume) => volumeSummaryView(call, volume)), ...page };
    },
  }),
  route({
    method: 'GET',
    path: '/volumes/detail',
    summary: 'Lists volumes in full',
    query: volumeListing.querySchema,
    response: { 200: z.object({ volumes: z.array(volumeSchema), volumes_links: pageLinksSchema, count }) },
    async handler(call) {
      const { rows, page } = await listVolumes(call);
      return { volumes: await volumeViews(call, rows), ...page };
    },
  }),
  route({
    method: 'GET',
    path: '/volumes/summary',
    summary: 'Number and size of the volumes',
    since: '3.12',
    query: volumeListing.querySchema,
    response: {
      200: z.object({
        'volume-summary': z.object({
          total_count: z.int(),
          total_size: z.int(),
          metadata: since('3.36', z.record(z.string(), z.array(z.string()))),
        }),
      }),
    },
    async handler(call) {
      const { query, empty, allProjects } = volumeListing.read(call);
      const figures = empty
        ? { count: 0, bytes: 0, metadata: {} }
        : await call.storage.volumes.summary(call.context, query, { allProjects });
      const metadata = Object.fromEntries(Object.entries(figures.metadata).map(([key, values]) => [key, [...values]]));
      return { 'volume-summary': { total_count: figures.count, total_size: gibibytes(figures.bytes), metadata } };
    },
  }),
  route({
    method: 'GET',
    path: '/volumes/:id',
    summary: 'Shows a volume',
    response: { 200: z.object({ volume: volumeSchema }) },
    handler: async (call) => oneVolumeView(call, await call.storage.volumes.get(call.context, call.params.id)),
  }),
  route({
    method: 'GET',
    path: '/volumes/:id/encryption',
    summary: 'Encryption of a volume; there is none',
    response: { 200: z.object({ encryption_key_id: z.null() }) },
    async handler({ storage, context, params }) {
      await storage.volumes.get(context, params.id);
      return { encryption_key_id: null };
    },
  }),
  route({
    method: 'PUT',
    path: '/volumes/:id',
    summary: 'Changes the name, description or metadata of a volume',
    body: updateVolumeSchema,
    response: { 200: z.object({ volume: volumeSchema }) },
    async handler(call) {
      const { volume: given } = call.body;
      const name = given.name === undefined ? given.display_name : given.name;
      const description = given.description === undefined ? given.display_description : given.description;
      if (call.atLeast('3.53') && Object.keys(given).length === 0) {
        throw new ScoriaError('invalid-input', 'Invalid input for field/attribute volume. Value: {}. There is nothing to change');
      }
      const volume = await call.storage.volumes.update(call.context, call.params.id, {
        name,
        description,
        metadata: given.metadata,
      });
      return oneVolumeView(call, volume);
    },
  }),
  route({
    method: 'DELETE',
    path: '/volumes/:id',
    summary: 'Deletes a volume; `cascade` takes its snapshots along, `force` (3.23) whatever its status',
    begins: true,
    query: z.object({ cascade: z.string().optional(), force: since('3.23', z.string().optional()) }),
    response: { 202: nothing },
    async handler(call) {
      const cascade = flagOf('cascade', call.query.cascade);
      const force = flagOf('force', call.query.force);
      if (force && !call.context.isAdmin) {
        throw new ScoriaError(
          'not-permitted',
          "Policy doesn't allow volume_extension:volume_admin_actions:force_delete to be performed.",
        );
      }
      const { operationId } = await call.storage.volumes.delete(call.context, call.params.id, { cascade, force });
      announceOperation(call, operationId);
    },
  }),
];
