import { z } from 'zod';
import { deviceLocatorSchema } from '../device/device-locator.ts';
import { toldErrorSchema } from '../error/error-data.ts';

/** Longest reference that a driver may give to a thing on its backend, characters. */
const longestRef = 1024;

const bytes = z.number().min(0);
const sized = z.looseObject({ size: z.int().min(0) });
const created = sized.extend({ backendRef: z.string().min(1).max(longestRef) });

/** The shapes of what a driver answers, by what the contract calls them. What they do not name is let through. */
export const driverAnswers = {
  identity: z.looseObject({ backendId: z.guid('no UUID') }),
  pools: z
    .array(
      z.looseObject({
        name: z.string().min(1),
        total: bytes,
        free: bytes,
        thin: z.boolean(),
        maxOverSubscription: bytes,
        reserved: z.number().min(0).max(1),
        fault: toldErrorSchema.loose().optional(),
        instantCopies: z.boolean().optional(),
        capabilities: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
      }),
    )
    .refine((pools) => new Set(pools.map(({ name }) => name)).size === pools.length, 'two pools have one name'),
  sized,
  created,
  copy: created.extend({ filled: z.boolean() }),
  reverted: z.looseObject({ done: z.boolean() }),
  listed: created.extend({
    placementId: z.string().min(1),
    kind: z.enum(['volume', 'snapshot']),
    pool: z.string().min(1),
    usedBytes: bytes,
  }),
  manageable: sized.extend({
    reference: z.string().min(1).max(longestRef),
    pool: z.string().min(1),
    placementId: z.string().min(1).nullable(),
    refusal: z.string().nullable(),
  }),
  locator: deviceLocatorSchema,
} as const;

/** The shapes of what a transport answers. */
export const transportAnswers = {
  exports: z.array(
    z.looseObject({
      accessId: z.string().min(1),
      volumeId: z.string().min(1),
      readOnly: z.boolean(),
      complete: z.boolean(),
      sessions: z.array(z.string()),
    }),
  ),
  connectionInfo: z.looseObject({ driverVolumeType: z.string().min(1), data: z.record(z.string(), z.unknown()) }),
  hold: z.string().min(1).nullable(),
  released: z.looseObject({ held: z.boolean() }),
} as const;
