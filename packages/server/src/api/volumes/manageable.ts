import { ScoriaError, type ManageableVolume } from '@scoria/core';
import { z } from 'zod';
import { action, nothing, route, type CallBase } from '../../http/route.ts';
import { since } from '../../http/versioned-schema.ts';
import { integerOf, maxLimit, sortOf } from '../listing.ts';
import { parseMetadataLiteral } from '../metadata-literal.ts';
import { announceOperation } from '../operations/announce.ts';
import { anything, flag, gibibytes, metadata, text, word } from '../request-fields.ts';
import { volumeSchema } from './schemas.ts';
import { oneVolumeView } from './views.ts';

const name = z.string().min(1).max(1024);
/** Drivers of Cinder differ in what they take; here both words mean what the list calls a reference. */
const referenceSchema = z
  .union([z.strictObject({ 'source-name': name }), z.strictObject({ 'source-id': name }), name])
  .transform((ref) => (typeof ref === 'string' ? ref : 'source-name' in ref ? ref['source-name'] : ref['source-id']));

const manageSchema = z.strictObject({
  volume: z.strictObject({
    host: z.string().max(255).nullish(),
    cluster: since('3.16', z.string().max(255).nullish()),
    ref: referenceSchema,
    name: text,
    description: text,
    volume_type: word,
    availability_zone: word,
    metadata: metadata.nullish(),
    bootable: flag.nullish(),
  }),
});

const summarySchema = z.object({
  reference: z.object({ 'source-name': z.string() }),
  size: z.int().describe('GiB, a begun one counting whole'),
  safe_to_manage: z.boolean(),
});
const detailSchema = summarySchema.extend({
  reason_not_safe: z.string().nullable(),
  cinder_id: z.string().nullable(),
  extra_info: z.null(),
});

const querySchema = z.object({
  host: z.string().max(255).optional(),
  cluster: since('3.17', z.string().max(255).optional()),
  limit: z.string().optional(),
  offset: z.string().optional(),
  marker: z.string().max(2048).optional(),
  sort: z.string().optional(),
  sort_key: z.string().optional(),
  sort_dir: z.string().optional(),
});

/** The host that a request names. There are no clusters here. */
function hostOf({
  host,
  cluster,
}: {
  readonly host?: string | null | undefined;
  readonly cluster?: string | null | undefined;
}): string {
  if (cluster) throw new ScoriaError('not-supported', `There are no clusters here, so none named ${cluster}; name a host`);
  if (!host) throw new ScoriaError('invalid-input', 'Invalid input for field/attribute host. A host is needed');
  return host;
}

async function listed(call: CallBase, host: string): Promise<readonly ManageableVolume[]> {
  const { rawQuery: given } = call;
  const marker = given['marker'];
  return call.storage.managedVolumes.list(call.context, host, {
    sort: sortOf(given, { reference: 'reference', size: 'size' } as const, 'reference'),
    // Clients hand back the reference as they printed it, or its name.
    marker: marker === undefined ? undefined : (parseMetadataLiteral(marker)?.['source-name'] ?? marker),
    offset: integerOf('offset', given['offset']),
    limit: Math.min(integerOf('limit', given['limit']) ?? maxLimit, maxLimit),
  });
}

const summaryView = ({ reference, size, refusal }: ManageableVolume): z.input<typeof summarySchema> => ({
  reference: { 'source-name': reference },
  size: gibibytes(size),
  safe_to_manage: refusal === null,
});

const detailView = (volume: ManageableVolume): z.input<typeof detailSchema> => ({
  ...summaryView(volume),
  reason_not_safe: volume.refusal,
  cinder_id: volume.volumeId,
  extra_info: null,
});

/** The routes under one of their two names. */
const manageRoutes = (path: '/os-volume-manage' | '/manageable_volumes', firstVersion: '3.0' | '3.8') => [
  route({
    method: 'POST',
    path,
    since: firstVersion,
    summary: 'Takes over a volume that exists on a backend',
    begins: true,
    admin: true,
    body: manageSchema,
    response: { 202: z.object({ volume: volumeSchema }) },
    async handler(call) {
      const { volume: wanted } = call.body;
      const { volume, operationId } = await call.storage.managedVolumes.manage(call.context, {
        host: hostOf(wanted),
        reference: wanted.ref,
        name: wanted.name,
        description: wanted.description,
        volumeType: wanted.volume_type,
        availabilityZone: wanted.availability_zone,
        metadata: wanted.metadata ?? undefined,
        bootable: wanted.bootable ?? undefined,
      });
      announceOperation(call, operationId);
      return oneVolumeView(call, volume);
    },
  }),
  route({
    method: 'GET',
    path,
    since: firstVersion,
    summary: 'Lists what lies on a host and could be taken over, in short',
    admin: true,
    query: querySchema,
    response: { 200: z.object({ 'manageable-volumes': z.array(summarySchema) }) },
    handler: async (call) => ({ 'manageable-volumes': (await listed(call, hostOf(call.query))).map(summaryView) }),
  }),
  route({
    method: 'GET',
    path: `${path}/detail`,
    since: firstVersion,
    summary: 'Lists what lies on a host and could be taken over, and what cannot with the reason',
    admin: true,
    query: querySchema,
    response: { 200: z.object({ 'manageable-volumes': z.array(detailSchema) }) },
    handler: async (call) => ({ 'manageable-volumes': (await listed(call, hostOf(call.query))).map(detailView) }),
  }),
];

/** Volumes that exist on backends: list them, take them over, let go of ours. */
export const manageableVolumeRoutes = [
  ...manageRoutes('/os-volume-manage', '3.0'),
  ...manageRoutes('/manageable_volumes', '3.8'),
  action({
    path: '/volumes/:id/action',
    action: 'os-unmanage',
    summary: 'Forgets a volume, which stays on its backend with its content',
    begins: true,
    admin: true,
    body: anything,
    response: { 202: nothing },
    async handler(call) {
      const { operationId } = await call.storage.managedVolumes.unmanage(call.context, call.params.id);
      announceOperation(call, operationId);
    },
  }),
];
