import { ScoriaError, type ErrorData, type JournalEntry, type Operation, type OperationField } from '@scoria/core';
import { z } from 'zod';
import { route } from '../../http/route.ts';
import { Listing, pageLinks, pageLinksSchema, textFilter } from '../listing.ts';
import { anything } from '../request-fields.ts';

const isoTime = z.iso.datetime();
const iso = (at: number) => new Date(at).toISOString();

const errorSchema = z.object({
  code: z.string(),
  message: z.string(),
  remedy: z.string(),
  details: z.record(z.string(), anything),
});

const progressSchema = z.object({
  step: z.string(),
  done: z.number().describe('bytes'),
  total: z.number().describe('bytes; 0 when not yet known'),
  rate: z.number().describe('bytes a second'),
  remaining: z.number().nullable().describe('milliseconds; null when it cannot be told'),
});

const operationSchema = z.object({
  id: z.string(),
  name: z.string(),
  project_id: z.string(),
  user_id: z.string(),
  request_id: z.string(),
  resource: z.object({ kind: z.string(), id: z.string() }),
  status: z.string(),
  cancel_requested: z.boolean(),
  progress: progressSchema.nullable(),
  error: errorSchema.nullable(),
  created_at: isoTime,
  updated_at: isoTime,
  ended_at: isoTime.nullable(),
});

const errorView = ({ code, message, remedy, details }: ErrorData) => ({ code, message, remedy, details: { ...details } });

function operationView(operation: Operation): z.input<typeof operationSchema> {
  return {
    id: operation.id,
    name: operation.name,
    project_id: operation.projectId,
    user_id: operation.userId,
    request_id: operation.requestId,
    resource: { kind: operation.resourceKind, id: operation.resourceId },
    status: operation.status,
    cancel_requested: operation.cancelRequested,
    progress: operation.progress && { ...operation.progress },
    error: operation.error && errorView(operation.error),
    created_at: iso(operation.createdAt),
    updated_at: iso(operation.updatedAt),
    ended_at: operation.endedAt === null ? null : iso(operation.endedAt),
  };
}

const journalEntrySchema = z.object({
  sequence: z.int(),
  at: isoTime,
  step: z.string(),
  event: z.string(),
  error: errorSchema.nullable(),
});

function journalEntryView(entry: JournalEntry): z.input<typeof journalEntrySchema> {
  return {
    sequence: entry.sequence,
    at: iso(entry.at),
    step: entry.step,
    event: entry.event,
    error: entry.error && errorView(entry.error),
  };
}

const operationListing = new Listing<OperationField>({
  resource: 'operation',
  filters: {
    id: textFilter('id'),
    name: textFilter('name'),
    status: textFilter('status'),
    request_id: textFilter('requestId'),
    resource_kind: textFilter('resourceKind'),
    resource_id: textFilter('resourceId'),
    project_id: { ...textFilter('projectId'), admin: true },
  },
  sort: { id: 'id', name: 'name', status: 'status', created_at: 'createdAt', updated_at: 'updatedAt' },
});

const historySchema = z.object({
  resource_id: z.string(),
  operations: z.array(operationSchema.extend({ journal: z.array(journalEntrySchema) })),
  messages: z.array(z.object({ at: isoTime, action: z.string(), code: z.string(), text: z.string() })),
});

/** Durable operations, below `/scoria/v1`: what is under way or was, how far it is, and how to stop it. */
export const operationRoutes = [
  route({
    method: 'GET',
    path: '/operations',
    summary: 'Lists operations, newest first',
    query: operationListing.querySchema,
    response: { 200: z.object({ operations: z.array(operationSchema), operations_links: pageLinksSchema }) },
    async handler(call) {
      const { query, empty, allProjects } = operationListing.read(call);
      const rows = empty ? [] : await call.storage.operations.list(call.context, query, { allProjects });
      return { operations: rows.map(operationView), operations_links: pageLinks(call, rows) };
    },
  }),
  route({
    method: 'GET',
    path: '/operations/:id',
    summary: 'Shows an operation, with its progress',
    response: { 200: z.object({ operation: operationSchema }) },
    handler: async ({ storage, context, params }) => ({
      operation: operationView(await storage.operations.get(context, params.id)),
    }),
  }),
  route({
    method: 'GET',
    path: '/operations/:id/journal',
    summary: 'The journal of an operation: each step as it was begun, done, failed or undone',
    response: { 200: z.object({ journal: z.array(journalEntrySchema) }) },
    handler: async ({ storage, context, params }) => ({
      journal: (await storage.operations.journal(context, params.id)).map(journalEntryView),
    }),
  }),
  route({
    method: 'GET',
    path: '/why/:id',
    summary: 'Why a volume, snapshot or attachment is as it is: what was asked of it, by whom, each step and failure',
    response: { 200: z.object({ why: historySchema }) },
    async handler({ storage, context, params }) {
      const history = await storage.operations.history(context, params.id);
      const messages = await storage.messages.list(context, { where: [{ field: 'resourceId', op: 'eq', value: params.id }] });
      if (history.length === 0) throw new ScoriaError('not-found', `Nothing is known of a resource ${params.id}.`);
      return {
        why: {
          resource_id: params.id,
          operations: history.map(({ operation, journal }) => ({
            ...operationView(operation),
            journal: journal.map(journalEntryView),
          })),
          messages: messages.map(({ createdAt, action, code, text }) => ({ at: iso(createdAt), action, code, text })),
        },
      };
    },
  }),
  route({
    method: 'POST',
    path: '/operations/:id/cancel',
    summary: 'Asks for an operation to be stopped and undone',
    body: anything,
    response: { 202: z.object({ operation: operationSchema }) },
    handler: async ({ storage, context, params }) => ({
      operation: operationView(await storage.operations.cancel(context, params.id)),
    }),
  }),
];
