import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { action, nothing, route, type CallBase } from '../../http/route.ts';
import { since } from '../../http/versioned-schema.ts';
import { pageLinks, pageLinksSchema } from '../listing.ts';
import { announceOperation } from '../operations/announce.ts';
import { anything } from '../request-fields.ts';
import { snapshotListing } from './listing.ts';
import {
  createSnapshotSchema,
  snapshotDetailSchema,
  snapshotSchema,
  snapshotSummarySchema,
  updateSnapshotSchema,
} from './schemas.ts';
import { snapshotDetailView, snapshotSummaryView, snapshotView } from './views.ts';

const count = since('3.45', z.int().optional());

async function listSnapshots(call: CallBase) {
  const { query, empty, allProjects, withCount } = snapshotListing.read(call);
  const { snapshots } = call.storage;
  const [rows, total] = await Promise.all([
    empty ? [] : snapshots.list(call.context, query, { allProjects }),
    withCount && !empty ? snapshots.count(call.context, query, { allProjects }) : 0,
  ]);
  return { rows, page: { snapshots_links: pageLinks(call, rows), count: withCount ? total : undefined } };
}

/** From 3.66 on a volume in use needs no `force`, and a refusal to force has no meaning. */
function forceOf(call: CallBase, given: boolean | null | undefined): boolean {
  if (!call.atLeast('3.66')) return given ?? false;
  if (given !== false) return true;
  throw new ScoriaError(
    'invalid-input',
    "Since microversion 3.66 'force' cannot be false: a volume in use needs no force; leave it out",
  );
}

/** Snapshots: create, show, list, change, delete. */
export const snapshotRoutes = [
  route({
    method: 'POST',
    path: '/snapshots',
    summary: 'Takes a snapshot of a volume',
    begins: true,
    body: createSnapshotSchema,
    response: { 202: z.object({ snapshot: snapshotSchema }) },
    async handler(call) {
      const wanted = call.body.snapshot;
      const { snapshot, operationId } = await call.storage.snapshots.create(call.context, {
        volumeId: wanted.volume_id,
        name: wanted.name ?? wanted.display_name,
        description: wanted.description ?? wanted.display_description,
        metadata: wanted.metadata ?? undefined,
        force: forceOf(call, wanted.force),
      });
      announceOperation(call, operationId);
      return { snapshot: snapshotView(snapshot) };
    },
  }),
  route({
    method: 'GET',
    path: '/snapshots',
    summary: 'Lists snapshots, in short',
    query: snapshotListing.querySchema,
    response: { 200: z.object({ snapshots: z.array(snapshotSummarySchema), snapshots_links: pageLinksSchema, count }) },
    async handler(call) {
      const { rows, page } = await listSnapshots(call);
      return { snapshots: rows.map(snapshotSummaryView), ...page };
    },
  }),
  route({
    method: 'GET',
    path: '/snapshots/detail',
    summary: 'Lists snapshots in full',
    query: snapshotListing.querySchema,
    response: { 200: z.object({ snapshots: z.array(snapshotDetailSchema), snapshots_links: pageLinksSchema, count }) },
    async handler(call) {
      const { rows, page } = await listSnapshots(call);
      return { snapshots: rows.map(snapshotDetailView), ...page };
    },
  }),
  route({
    method: 'GET',
    path: '/snapshots/:id',
    summary: 'Shows a snapshot',
    response: { 200: z.object({ snapshot: snapshotDetailSchema }) },
    handler: async ({ storage, context, params }) => ({
      snapshot: snapshotDetailView(await storage.snapshots.get(context, params.id)),
    }),
  }),
  route({
    method: 'PUT',
    path: '/snapshots/:id',
    summary: 'Changes the name or description of a snapshot',
    body: updateSnapshotSchema,
    response: { 200: z.object({ snapshot: snapshotSchema }) },
    async handler({ storage, context, params, body }) {
      const given = body.snapshot;
      const name = given.name === undefined ? given.display_name : given.name;
      const description = given.description === undefined ? given.display_description : given.description;
      const snapshot = await storage.snapshots.update(context, params.id, { name, description });
      return { snapshot: snapshotView(snapshot) };
    },
  }),
  route({
    method: 'DELETE',
    path: '/snapshots/:id',
    summary: 'Deletes a snapshot',
    begins: true,
    response: { 202: nothing },
    async handler(call) {
      const { operationId } = await call.storage.snapshots.delete(call.context, call.params.id, {});
      announceOperation(call, operationId);
    },
  }),
  action({
    path: '/snapshots/:id/action',
    action: 'os-force_delete',
    summary: 'Deletes a snapshot whatever its status',
    begins: true,
    admin: true,
    body: anything,
    response: { 202: nothing },
    async handler(call) {
      const { operationId } = await call.storage.snapshots.delete(call.context, call.params.id, { force: true });
      announceOperation(call, operationId);
    },
  }),
];
