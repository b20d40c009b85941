import { ScoriaError, type QosSpec } from '@scoria/core';
import { z } from 'zod';
import { nothing, route, type CallBase } from '../../http/route.ts';
import { linksSchema, resourceLinks } from '../links.ts';
import { flagOf } from '../listing.ts';
import { qosSpecListing } from './listing.ts';
import { associationSchema, createQosSpecSchema, deleteKeysSchema, qosSpecSchema, updateQosSpecSchema } from './schemas.ts';
import { qosSpecView } from './views.ts';

const one = z.object({ qos_specs: qosSpecSchema, links: linksSchema });
const oneView = (call: CallBase, spec: QosSpec): z.input<typeof one> => ({
  qos_specs: qosSpecView(spec),
  links: resourceLinks(call, `qos-specs/${spec.id}`),
});

const ofType = z.object({ vol_type_id: z.string().max(255).optional() });

function typeIdOf(query: z.output<typeof ofType>): string {
  if (!query.vol_type_id) throw new ScoriaError('invalid-input', 'Volume Type id must not be None.');
  return query.vol_type_id;
}

/** QoS specs and the volume types that have them. The calls that associate are GETs, as Cinder's are. */
export const qosSpecRoutes = [
  route({
    method: 'GET',
    path: '/qos-specs',
    summary: 'Lists the QoS specs',
    admin: true,
    query: qosSpecListing.querySchema,
    response: { 200: z.object({ qos_specs: z.array(qosSpecSchema) }) },
    async handler(call) {
      const { query, empty } = qosSpecListing.read(call);
      const page = empty ? [] : await call.storage.qosSpecs.list(call.context, query);
      return { qos_specs: page.map(qosSpecView) };
    },
  }),
  route({
    method: 'POST',
    path: '/qos-specs',
    summary: 'Creates a QoS spec',
    admin: true,
    body: createQosSpecSchema,
    response: { 200: one },
    async handler(call) {
      const { name, consumer, ...specs } = call.body.qos_specs;
      return oneView(call, await call.storage.qosSpecs.create(call.context, { name, consumer, specs }));
    },
  }),
  route({
    method: 'GET',
    path: '/qos-specs/:id',
    summary: 'Shows a QoS spec',
    admin: true,
    response: { 200: one },
    handler: async (call) => oneView(call, await call.storage.qosSpecs.get(call.context, call.params.id)),
  }),
  route({
    method: 'PUT',
    path: '/qos-specs/:id',
    summary: 'Adds keys to a QoS spec, gives them new values, or changes its consumer',
    admin: true,
    body: updateQosSpecSchema,
    response: { 200: z.object({ qos_specs: z.record(z.string(), z.string()) }) },
    async handler({ storage, context, params, body }) {
      const { consumer, name: _none, ...specs } = body.qos_specs;
      await storage.qosSpecs.update(context, params.id, { consumer, specs });
      return { qos_specs: { ...(consumer && { consumer }), ...specs } };
    },
  }),
  route({
    method: 'PUT',
    path: '/qos-specs/:id/delete_keys',
    summary: 'Removes keys of a QoS spec',
    admin: true,
    body: deleteKeysSchema,
    response: { 202: nothing },
    async handler({ storage, context, params, body }) {
      await storage.qosSpecs.deleteKeys(context, params.id, body.keys);
    },
  }),
  route({
    method: 'DELETE',
    path: '/qos-specs/:id',
    summary: 'Deletes a QoS spec; `force` takes it from the volume types that have it',
    admin: true,
    query: z.object({ force: z.string().optional() }),
    response: { 202: nothing },
    async handler({ storage, context, params, query }) {
      await storage.qosSpecs.delete(context, params.id, { force: flagOf('force', query.force) });
    },
  }),
  route({
    method: 'GET',
    path: '/qos-specs/:id/associations',
    summary: 'Volume types that have a QoS spec',
    admin: true,
    response: { 200: z.object({ qos_associations: z.array(associationSchema) }) },
    async handler({ storage, context, params }) {
      const types = await storage.qosSpecs.associations(context, params.id);
      return { qos_associations: types.map(({ id, name }) => ({ association_type: 'volume_type' as const, name, id })) };
    },
  }),
  route({
    method: 'GET',
    path: '/qos-specs/:id/associate',
    summary: 'Gives a volume type a QoS spec',
    admin: true,
    query: ofType,
    response: { 202: nothing },
    async handler({ storage, context, params, query }) {
      await storage.qosSpecs.associate(context, params.id, typeIdOf(query));
    },
  }),
  route({
    method: 'GET',
    path: '/qos-specs/:id/disassociate',
    summary: 'Takes a QoS spec from a volume type',
    admin: true,
    query: ofType,
    response: { 202: nothing },
    async handler({ storage, context, params, query }) {
      await storage.qosSpecs.disassociate(context, params.id, typeIdOf(query));
    },
  }),
  route({
    method: 'GET',
    path: '/qos-specs/:id/disassociate_all',
    summary: 'Takes a QoS spec from every volume type',
    admin: true,
    response: { 202: nothing },
    async handler({ storage, context, params }) {
      await storage.qosSpecs.disassociateAll(context, params.id);
    },
  }),
];
