import { ScoriaError, type VolumeType } from '@scoria/core';
import { z } from 'zod';
import { action, nothing, route, type CallBase } from '../../http/route.ts';
import { pageLinks, pageLinksSchema } from '../listing.ts';
import { parseMetadataLiteral } from '../metadata-literal.ts';
import { volumeTypeListing } from './listing.ts';
import { createVolumeTypeSchema, extraSpecs, updateVolumeTypeSchema, volumeTypeSchema } from './schemas.ts';
import { extraSpecsView, volumeTypeView } from './views.ts';

const one = z.object({ volume_type: volumeTypeSchema });
const someSpecs = z.record(z.string(), z.string());

async function listTypes(call: CallBase): Promise<{ page: readonly VolumeType[]; shown: readonly VolumeType[] }> {
  const { query, empty } = volumeTypeListing.read(call);
  if (empty) return { page: [], shown: [] };
  const publicOnly = call.context.isAdmin && call.rawQuery.is_public === undefined;
  const where = [...(query.where ?? []), ...(publicOnly ? [{ field: 'isPublic', op: 'eq', value: true } as const] : [])];
  const page = await call.storage.volumeTypes.list(call.context, { ...query, where });
  const literal = call.rawQuery.extra_specs;
  if (literal === undefined || !call.atLeast('3.52')) return { page, shown: page };
  const wanted = parseMetadataLiteral(literal);
  if (!wanted) throw new ScoriaError('invalid-input', 'Invalid filter extra_specs: it must be a dictionary of strings');
  const matches = (type: VolumeType) => {
    const visible = extraSpecsView(call, type);
    return Object.entries(wanted).every(([key, value]) => visible[key] === value);
  };
  return { page, shown: page.filter(matches) };
}

/** Volume types. */
const typeRoutes = [
  route({
    method: 'GET',
    path: '/types',
    summary: 'Lists the volume types',
    query: volumeTypeListing.querySchema,
    response: { 200: z.object({ volume_types: z.array(volumeTypeSchema), volume_type_links: pageLinksSchema }) },
    async handler(call) {
      const { page, shown } = await listTypes(call);
      return { volume_types: shown.map((type) => volumeTypeView(call, type)), volume_type_links: pageLinks(call, page) };
    },
  }),
  route({
    method: 'POST',
    path: '/types',
    summary: 'Creates a volume type',
    admin: true,
    body: createVolumeTypeSchema,
    response: { 200: one },
    async handler(call) {
      const wanted = call.body.volume_type;
      const specs = Object.entries(wanted.extra_specs ?? {}).flatMap(([key, value]) =>
        value === null ? [] : [[key, value] as const],
      );
      const type = await call.storage.volumeTypes.create(call.context, {
        name: wanted.name,
        description: wanted.description ?? null,
        isPublic: wanted['os-volume-type-access:is_public'] ?? true,
        extraSpecs: Object.fromEntries(specs),
      });
      return { volume_type: volumeTypeView(call, type) };
    },
  }),
  route({
    method: 'GET',
    path: '/types/:id',
    summary: 'Shows a volume type; `default` is the one that volumes get when none is named',
    response: { 200: one },
    async handler(call) {
      const { volumeTypes } = call.storage;
      const { id } = call.params;
      const type = await (id === 'default' ? volumeTypes.default() : volumeTypes.get(call.context, id));
      return { volume_type: volumeTypeView(call, type) };
    },
  }),
  route({
    method: 'PUT',
    path: '/types/:id',
    summary: 'Changes the name, description or visibility of a volume type',
    admin: true,
    body: updateVolumeTypeSchema,
    response: { 200: one },
    async handler(call) {
      const { name, description, is_public: isPublic } = call.body.volume_type;
      // Clients send null for what they leave as it is.
      if (name == null && description == null && isPublic === undefined) {
        throw new ScoriaError('invalid-input', 'Specify volume type name, description, is_public or a combination thereof.');
      }
      const type = await call.storage.volumeTypes.update(call.context, call.params.id, {
        ...(name != null && { name }),
        ...(description != null && { description }),
        ...(isPublic !== undefined && { isPublic }),
      });
      return { volume_type: volumeTypeView(call, type) };
    },
  }),
  route({
    method: 'DELETE',
    path: '/types/:id',
    summary: 'Deletes a volume type that nothing is of',
    admin: true,
    response: { 202: nothing },
    async handler({ storage, context, params }) {
      await storage.volumeTypes.delete(context, params.id);
    },
  }),
];

/** Their extra specs. */
const extraSpecRoutes = [
  route({
    method: 'GET',
    path: '/types/:id/extra_specs',
    summary: 'Extra specs of a volume type',
    response: { 200: z.object({ extra_specs: someSpecs }) },
    handler: async (call) => ({
      extra_specs: extraSpecsView(call, await call.storage.volumeTypes.get(call.context, call.params.id)),
    }),
  }),
  route({
    method: 'POST',
    path: '/types/:id/extra_specs',
    summary: 'Adds extra specs or gives them new values',
    admin: true,
    body: z.strictObject({ extra_specs: extraSpecs }),
    response: { 200: z.object({ extra_specs: someSpecs }) },
    async handler({ storage, context, params, body }) {
      await storage.volumeTypes.setExtraSpecs(context, params.id, body.extra_specs);
      return { extra_specs: body.extra_specs };
    },
  }),
  route({
    method: 'GET',
    path: '/types/:id/extra_specs/:key',
    summary: 'One extra spec',
    response: { 200: someSpecs },
    async handler(call) {
      const { id, key } = call.params;
      const specs = extraSpecsView(call, await call.storage.volumeTypes.get(call.context, id));
      const value = Object.hasOwn(specs, key) ? specs[key] : undefined;
      if (value === undefined) throw new ScoriaError('not-found', `Volume Type ${id} has no extra specs with key ${key}.`);
      return { [key]: value };
    },
  }),
  route({
    method: 'PUT',
    path: '/types/:id/extra_specs/:key',
    summary: 'Sets one extra spec',
    admin: true,
    body: extraSpecs,
    response: { 200: someSpecs },
    async handler({ storage, context, params, body }) {
      const keys = Object.keys(body);
      if (!keys.includes(params.key)) throw new ScoriaError('invalid-input', 'Request body and URI mismatch');
      if (keys.length > 1) throw new ScoriaError('invalid-input', 'Request body contains too many items');
      await storage.volumeTypes.setExtraSpecs(context, params.id, body);
      return body;
    },
  }),
  route({
    method: 'DELETE',
    path: '/types/:id/extra_specs/:key',
    summary: 'Removes one extra spec',
    admin: true,
    response: { 202: nothing },
    async handler({ storage, context, params }) {
      const { extraSpecs: specs } = await storage.volumeTypes.get(context, params.id);
      if (!Object.hasOwn(specs, params.key)) {
        throw new ScoriaError('not-found', `Volume Type ${params.id} has no extra specs with key ${params.key}.`);
      }
      await storage.volumeTypes.deleteExtraSpec(context, params.id, params.key);
    },
  }),
];

const project = z.strictObject({ project: z.string().min(1).max(255) });

/** Which projects may use a private type. */
const accessRoutes = [
  route({
    method: 'GET',
    path: '/types/:id/os-volume-type-access',
    summary: 'Projects that may use a private volume type',
    admin: true,
    response: {
      200: z.object({ volume_type_access: z.array(z.object({ volume_type_id: z.string(), project_id: z.string() })) }),
    },
    async handler({ storage, context, params }) {
      const type = await storage.volumeTypes.get(context, params.id);
      if (type.isPublic) throw new ScoriaError('not-found', 'Access list not available for public volume types.');
      const projects = await storage.volumeTypes.projectsWithAccess(context, params.id);
      return { volume_type_access: projects.map((id) => ({ volume_type_id: type.id, project_id: id })) };
    },
  }),
  action({
    path: '/types/:id/action',
    action: 'addProjectAccess',
    summary: 'Lets a project use a private volume type',
    admin: true,
    body: project,
    response: { 202: nothing },
    async handler({ storage, context, params, body }) {
      await storage.volumeTypes.grantAccess(context, params.id, body.project);
    },
  }),
  action({
    path: '/types/:id/action',
    action: 'removeProjectAccess',
    summary: 'Takes the use of a private volume type from a project',
    admin: true,
    body: project,
    response: { 202: nothing },
    async handler({ storage, context, params, body }) {
      await storage.volumeTypes.revokeAccess(context, params.id, body.project);
    },
  }),
];

/** Volumes are not encrypted here, so this answers as Cinder does for a type without encryption. */
const encryptionRoute = route({
  method: 'GET',
  path: '/types/:id/encryption',
  summary: 'Encryption of a volume type; there is none',
  admin: true,
  response: { 200: z.object({}) },
  async handler({ storage, context, params }) {
    await storage.volumeTypes.get(context, params.id);
    return {};
  },
});

/** Volume types, their extra specs, and who may use private ones. */
export const volumeTypeRoutes = [...typeRoutes, ...extraSpecRoutes, ...accessRoutes, encryptionRoute];
