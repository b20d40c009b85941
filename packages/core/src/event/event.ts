import { z } from 'zod';

/** What can happen, by name. The payload always has the ids that a listener needs to look further. */
export const eventSchemas = {
  'volume.changed': z.object({ volumeId: z.string(), projectId: z.string(), status: z.string() }),
  'volume.deleted': z.object({ volumeId: z.string(), projectId: z.string() }),
  'snapshot.changed': z.object({ snapshotId: z.string(), volumeId: z.string(), projectId: z.string(), status: z.string() }),
  'snapshot.deleted': z.object({ snapshotId: z.string(), volumeId: z.string(), projectId: z.string() }),
  'attachment.changed': z.object({ attachmentId: z.string(), volumeId: z.string(), projectId: z.string(), status: z.string() }),
  'attachment.deleted': z.object({ attachmentId: z.string(), volumeId: z.string(), projectId: z.string() }),
  'operation.ended': z.object({
    operationId: z.string(),
    projectId: z.string(),
    name: z.string(),
    resourceId: z.string(),
    status: z.string(),
  }),
} as const;

/** Name of an event. */
export type EventName = keyof typeof eventSchemas;
/** Payload of an event. */
export type EventPayload<Name extends EventName> = z.infer<(typeof eventSchemas)[Name]>;

/** An event to be written. */
export type NewEvent = { [Name in EventName]: { readonly name: Name; readonly payload: EventPayload<Name> } }[EventName];

/** An event as it was written: a row of the outbox, in the same transaction as what it tells of. */
export interface StoredEvent {
  /** Ascending over the whole store; the stream's `Last-Event-ID`. */
  readonly sequence: number;
  readonly at: number;
  readonly projectId: string;
  readonly name: EventName;
  readonly payload: Readonly<Record<string, string>>;
}
