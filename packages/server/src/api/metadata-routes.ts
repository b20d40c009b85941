import { createHash } from 'node:crypto';
import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { HttpError } from '../http/http-error.ts';
import { nothing, route, type CallBase, type Route } from '../http/route.ts';
import { metadata } from './request-fields.ts';

type Metadata = Readonly<Record<string, string>>;
interface WithMetadata {
  readonly metadata: Metadata;
}

/** How the metadata of one kind of resource are reached. */
interface MetadataAccess {
  /** Part of the path, `volumes`. */
  readonly collection: string;
  /** For messages, `Volume`. */
  readonly kind: string;
  get(call: CallBase, id: string): Promise<WithMetadata>;
  merge(call: CallBase, id: string, metadata: Metadata): Promise<WithMetadata>;
  replace(call: CallBase, id: string, metadata: Metadata): Promise<WithMetadata>;
  deleteKey(call: CallBase, id: string, key: string): Promise<unknown>;
}

const whole = z.strictObject({ metadata });
const answer = z.object({ metadata: z.record(z.string(), z.string()) });
const item = z.object({ meta: z.record(z.string(), z.string()) });

function etag(body: Metadata): string {
  return createHash('md5')
    .update(JSON.stringify(Object.entries(body).toSorted()))
    .digest('hex');
}

/** The six routes below `…/metadata`, the same for volumes and snapshots. From 3.15 on a change may be bound to the ETag last seen. */
function metadataRoutes(access: MetadataAccess): Route[] {
  const checkEtag = async (call: CallBase, id: string) => {
    if (call.ifMatch === undefined || !call.atLeast('3.15')) return;
    const present = etag((await access.get(call, id)).metadata);
    if (!call.ifMatch.includes(present)) throw new HttpError(412, 'The metadata have changed since the ETag was given');
  };
  const valueOf = async (call: CallBase, id: string, key: string) => {
    const { metadata: all } = await access.get(call, id);
    const value = Object.hasOwn(all, key) ? all[key] : undefined;
    if (value === undefined) throw new ScoriaError('not-found', `${access.kind} ${id} has no metadata with key ${key}.`);
    return value;
  };
  const path = `/${access.collection}/:id/metadata` as const;
  const keyPath = `/${access.collection}/:id/metadata/:key` as const;
  return [
    route({
      method: 'GET',
      path,
      summary: `Metadata of a ${access.kind.toLowerCase()}`,
      response: { 200: answer },
      async handler(call) {
        const { metadata: all } = await access.get(call, call.params.id);
        if (call.atLeast('3.15')) call.headers.ETag = etag(all);
        return { metadata: { ...all } };
      },
    }),
    route({
      method: 'POST',
      path,
      summary: 'Adds metadata or gives them new values',
      body: whole,
      response: { 200: answer },
      handler: async (call) => ({ metadata: { ...(await access.merge(call, call.params.id, call.body.metadata)).metadata } }),
    }),
    route({
      method: 'PUT',
      path,
      summary: 'Replaces all metadata',
      body: whole,
      response: { 200: answer },
      async handler(call) {
        await checkEtag(call, call.params.id);
        return { metadata: { ...(await access.replace(call, call.params.id, call.body.metadata)).metadata } };
      },
    }),
    route({
      method: 'GET',
      path: keyPath,
      summary: 'One of the metadata',
      response: { 200: item },
      handler: async (call) => ({ meta: { [call.params.key]: await valueOf(call, call.params.id, call.params.key) } }),
    }),
    route({
      method: 'PUT',
      path: keyPath,
      summary: 'Sets one of the metadata',
      body: z.strictObject({ meta: metadata }),
      response: { 200: item },
      async handler(call) {
        const { id, key } = call.params;
        await checkEtag(call, id);
        const keys = Object.keys(call.body.meta);
        if (!keys.includes(key)) throw new ScoriaError('invalid-input', 'Request body and URI mismatch');
        if (keys.length > 1) throw new ScoriaError('invalid-input', 'Request body contains too many items');
        await access.merge(call, id, call.body.meta);
        return { meta: call.body.meta };
      },
    }),
    route({
      method: 'DELETE',
      path: keyPath,
      summary: 'Removes one of the metadata',
      response: { 200: nothing },
      async handler(call) {
        const { id, key } = call.params;
        await valueOf(call, id, key);
        await access.deleteKey(call, id, key);
      },
    }),
  ];
}

/** Metadata of volumes. */
export const volumeMetadataRoutes = metadataRoutes({
  collection: 'volumes',
  kind: 'Volume',
  get: ({ storage, context }, id) => storage.volumes.get(context, id),
  merge: ({ storage, context }, id, given) => storage.volumes.setMetadata(context, id, given),
  replace: ({ storage, context }, id, given) => storage.volumes.update(context, id, { metadata: given }),
  deleteKey: ({ storage, context }, id, key) => storage.volumes.deleteMetadataKey(context, id, key),
});

/** Metadata of snapshots. */
export const snapshotMetadataRoutes = metadataRoutes({
  collection: 'snapshots',
  kind: 'Snapshot',
  get: ({ storage, context }, id) => storage.snapshots.get(context, id),
  merge: ({ storage, context }, id, given) => storage.snapshots.setMetadata(context, id, given),
  replace: ({ storage, context }, id, given) => storage.snapshots.update(context, id, { metadata: given }),
  deleteKey: ({ storage, context }, id, key) => storage.snapshots.deleteMetadataKey(context, id, key),
});
