import { z } from 'zod';
import { deviceLocatorSchema, errorDataSchema, ScoriaError, type LimitedQuantity } from '@scoria/core/device';

/** Version of this protocol. A process that speaks another one is replaced. */
export const protocolVersion = 5;

const uuid = z.string().regex(/^[0-9a-fA-F-]{1,64}$/, 'not an id');

const rateLimitSchema = z.object({ perSecond: z.number().positive(), burst: z.number().positive() });

/** The `IoLimits` of core on their way to the target process. */
const ioLimitsSchema = z.object({
  readOperations: rateLimitSchema.optional(),
  writeOperations: rateLimitSchema.optional(),
  totalOperations: rateLimitSchema.optional(),
  readBytes: rateLimitSchema.optional(),
  writeBytes: rateLimitSchema.optional(),
  totalBytes: rateLimitSchema.optional(),
  operationSize: z.number().positive().optional(),
} satisfies Record<LimitedQuantity | 'operationSize', z.ZodType>);

/** An {@link ExportRequest} of core on its way to the target process. */
export const exportRequestSchema = z.object({
  accessId: uuid,
  volumeId: uuid,
  device: deviceLocatorSchema,
  readOnly: z.boolean(),
  secret: z.string().min(1).max(256),
  initiator: z.string().min(1).max(223).optional(),
  limits: ioLimitsSchema.optional(),
});

/** How the target listens; fixed while the process runs. */
export const targetSettingsSchema = z.object({
  listen: z
    .array(z.object({ host: z.string().min(1).max(255), port: z.number().int().min(0).max(65535) }))
    .min(1)
    .max(16),
  iqnPrefix: z.string().min(1).max(180),
  advertise: z.string().max(262).optional(),
  authentication: z.enum(['chap', 'initiator-name']),
  /** What the target proves itself by. */
  mutualChap: z.object({ name: z.string().min(1).max(223), secret: z.string().min(12).max(255) }).optional(),
  /** Where reservations are kept that outlive the process; without it none do. */
  stateDirectory: z.string().min(1).max(4096).optional(),
  /** Seconds. */
  orphanTimeout: z.number().positive(),
});
/** See {@link targetSettingsSchema}. */
export type TargetSettings = z.infer<typeof targetSettingsSchema>;

const listenAddressesSchema = z.array(z.object({ host: z.string(), port: z.number().int() }));

/** The devices of a mirror. */
const mirrorEndsSchema = z.object({ source: deviceLocatorSchema, target: deviceLocatorSchema });
/** See {@link mirrorEndsSchema}. */
export type MirrorEnds = z.infer<typeof mirrorEndsSchema>;

/** What each verb takes and gives. */
export const verbs = {
  /** First message of a connection. */
  hello: {
    request: z.object({ version: z.number().int(), settings: targetSettingsSchema }),
    reply: z.object({
      version: z.number().int(),
      settingsMatch: z.boolean(),
      processId: z.number().int(),
      addresses: listenAddressesSchema,
    }),
  },
  export: { request: exportRequestSchema, reply: z.null() },
  unexport: { request: z.object({ accessId: uuid }), reply: z.null() },
  list: {
    request: z.null(),
    reply: z.array(
      z.object({
        accessId: z.string(),
        volumeId: z.string(),
        readOnly: z.boolean(),
        complete: z.boolean(),
        sessions: z.array(z.string()),
      }),
    ),
  },
  resize: { request: z.object({ volumeId: uuid }), reply: z.null() },
  limit: { request: z.object({ volumeId: uuid, limits: ioLimitsSchema.nullable() }), reply: z.null() },
  hold: { request: z.object({ volumeId: uuid, ms: z.number().positive().max(3_600_000) }), reply: z.string().nullable() },
  release: { request: z.object({ token: z.string().max(64) }), reply: z.object({ held: z.boolean() }) },
  copy: { request: z.object({ volumeId: uuid, source: deviceLocatorSchema, target: deviceLocatorSchema }), reply: z.null() },
  mirror: { request: z.object({ volumeId: uuid, source: deviceLocatorSchema, target: deviceLocatorSchema }), reply: z.null() },
  commitMirror: { request: z.object({ volumeId: uuid }), reply: mirrorEndsSchema },
  endMirror: {
    request: z.object({ volumeId: uuid, keep: z.enum(['source', 'target']) }),
    /** The devices of the mirror that there was. */
    reply: mirrorEndsSchema.nullable(),
  },
  /** Sends logins to another address from now on, or to none. */
  redirect: { request: z.object({ address: z.string().max(262).nullable() }), reply: z.null() },
  stats: {
    request: z.null(),
    reply: z.array(
      z.object({
        volumeId: z.string(),
        readBytes: z.number(),
        writtenBytes: z.number(),
        reads: z.number(),
        writes: z.number(),
      }),
    ),
  },
  /** Ends the target and its process. */
  shutdown: { request: z.null(), reply: z.null() },
} as const satisfies Record<string, { request: z.ZodType; reply: z.ZodType }>;

/** Name of a verb. */
export type Verb = keyof typeof verbs;
/** Verbs that concern the target; the others concern its process. */
export type TargetVerb = Exclude<Verb, 'hello' | 'shutdown'>;
/** What a verb takes. */
export type VerbRequest<V extends Verb> = z.infer<(typeof verbs)[V]['request']>;
/** What a verb gives. */
export type VerbReply<V extends Verb> = z.infer<(typeof verbs)[V]['reply']>;

/** Takes a request for what its verb takes. Throws `invalid-input`, without the values: an export holds a secret. */
export function parseRequest<V extends Verb>(verb: V, body: unknown): VerbRequest<V> {
  const schema: z.ZodType = verbs[verb].request;
  const parsed = schema.safeParse(body);
  if (!parsed.success) {
    const places = parsed.error.issues.map((issue) => issue.path.join('.')).join(', ');
    throw new ScoriaError('invalid-input', `A request to the iSCSI target, ${verb}, is malformed at: ${places || 'its root'}`);
  }
  return parsed.data as VerbRequest<V>;
}

const id = z.number().int().nonnegative();

/** What the controller sends. */
export const clientMessageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('request'), id, verb: z.string().max(32), body: z.unknown() }),
  z.object({ kind: z.literal('cancel'), id }),
]);
/** See {@link clientMessageSchema}. */
export type ClientMessage = z.infer<typeof clientMessageSchema>;

/** What the target process sends. */
export const serverMessageSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('reply'), id, body: z.unknown() }),
  z.object({ kind: z.literal('error'), id, error: errorDataSchema }),
  z.object({ kind: z.literal('progress'), id, done: z.number(), total: z.number() }),
]);
/** See {@link serverMessageSchema}. */
export type ServerMessage = z.infer<typeof serverMessageSchema>;
