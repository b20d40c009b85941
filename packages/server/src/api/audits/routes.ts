import { z } from 'zod';
import { route } from '../../http/route.ts';

const bytes = z.number().describe('bytes');

const failure = z
  .object({ code: z.string(), message: z.string(), remedy: z.string() })
  .nullable()
  .describe('why it could not be looked at; all else is null then');

const auditSchema = z.object({
  backends: z.array(
    z.object({
      backend: z.string(),
      unknown: z
        .array(z.object({ placement_id: z.string(), kind: z.string(), pool: z.string(), size: bytes, used: bytes }))
        .nullable()
        .describe('on the backend, without a row'),
      missing: z
        .array(z.object({ placement_id: z.string(), kind: z.string(), resource_id: z.string(), pool: z.string() }))
        .nullable()
        .describe('rows without their object on the backend'),
      failure,
    }),
  ),
  transports: z.array(
    z.object({
      transport: z.string(),
      exports: z
        .array(
          z.object({
            access_id: z.string(),
            volume_id: z.string(),
            read_only: z.boolean(),
            complete: z.boolean().describe('false: only a part of it is there, so no host can log in'),
            sessions: z.array(z.string()),
          }),
        )
        .nullable(),
      volumes: z
        .array(
          z.object({ volume_id: z.string(), reads: z.number(), writes: z.number(), read_bytes: bytes, written_bytes: bytes }),
        )
        .nullable(),
      unknown: z.array(z.string()).nullable().describe('accesses published without a row'),
      missing: z.array(z.string()).nullable().describe('open accesses that are not published'),
      incomplete: z.array(z.string()).nullable().describe('open accesses of which only a part is published'),
      failure,
    }),
  ),
});

/** Below `/scoria/v1`, for administrators: what backends and targets really have against what the service knows. */
export const auditRoutes = [
  route({
    method: 'GET',
    path: '/audit',
    summary: 'Compares backends and targets with the store, both ways; changes nothing',
    response: { 200: z.object({ audit: auditSchema }) },
    async handler({ storage, context }) {
      const { backends, transports } = await storage.audits.run(context);
      return {
        audit: {
          backends: backends.map(({ backend, unknown, missing, failure: reason }) => ({
            backend,
            unknown:
              unknown?.map(({ placementId, kind, pool, size, usedBytes }) => ({
                placement_id: placementId,
                kind,
                pool,
                size,
                used: usedBytes,
              })) ?? null,
            missing:
              missing?.map(({ id, kind, resourceId, pool }) => ({ placement_id: id, kind, resource_id: resourceId, pool })) ??
              null,
            failure: reason,
          })),
          transports: transports.map(({ transport, exports, stats, unknown, missing, incomplete, failure: reason }) => ({
            transport,
            exports:
              exports?.map(({ accessId, volumeId, readOnly, complete, sessions }) => ({
                access_id: accessId,
                volume_id: volumeId,
                read_only: readOnly,
                complete,
                sessions: [...sessions],
              })) ?? null,
            volumes:
              stats?.map(({ volumeId, reads, writes, readBytes, writtenBytes }) => ({
                volume_id: volumeId,
                reads,
                writes,
                read_bytes: readBytes,
                written_bytes: writtenBytes,
              })) ?? null,
            unknown: unknown && [...unknown],
            missing: missing && [...missing],
            incomplete: incomplete && [...incomplete],
            failure: reason,
          })),
        },
      };
    },
  }),
];
