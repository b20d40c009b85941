import { z } from 'zod';

const MiB = 1024 * 1024;
const second = 1000;
/** Names of volume groups and logical volumes (lvm(8), "valid names"). */
const lvmName = z
  .string()
  .min(1)
  .max(127)
  .regex(/^(?!\.{1,2}$)[a-zA-Z0-9+_.][a-zA-Z0-9+_.-]*$/);
const share = z.number().min(0).max(1);
const percent = z.number().int().min(1).max(100);
const bytes = z.number().int().positive().max(Number.MAX_SAFE_INTEGER);

const thinPoolSchema = z.strictObject({
  name: lvmName.default('scoria-pool').describe('Logical volume that is the thin pool, the same in every group.'),
  create: z.boolean().default(true).describe('Make the pool when a group has none.'),
  size: bytes.optional().describe('Bytes of a pool that is made. Default: "percent" of the group.'),
  percent: percent.default(90).describe('Share of a group that a pool that is made takes, in percent.'),
  metadataSize: bytes.optional().describe("Bytes of the metadata of a pool that is made. Default: LVM's own choice."),
  chunkSize: bytes
    .min(64 * 1024)
    .max(1024 * MiB)
    .multipleOf(64 * 1024)
    .optional()
    .describe("Bytes of one chunk of a pool that is made. Default: LVM's own choice."),
  autoExtend: z
    .strictObject({
      threshold: percent.default(80).describe('Percent of data or metadata in use at which it grows.'),
      percent: percent.default(20).describe('By how much of its size it grows.'),
    })
    .optional()
    .describe('Let the pool grow while its group has room.'),
  warnAt: percent.default(80).describe('Percent in use from which the log warns, with a forecast.'),
  alarmAt: percent.default(95).describe('Percent in use from which the log tells an error.'),
  metadataLimit: percent.default(90).describe('Percent of metadata in use from which no volume is placed on the pool.'),
});

/** The driver's part of a configuration. */
export const lvmConfigSchema = z
  .strictObject({
    volumeGroups: z
      .array(lvmName)
      .min(1)
      .max(64)
      .refine((names) => new Set(names).size === names.length, 'A volume group is named twice')
      .describe('Volume groups; each is a pool of this name.'),
    provisioning: z
      .enum(['thick', 'thin'])
      .default('thin')
      .describe('"thick": a volume has all its space from the start. "thin": it takes space from a thin pool as it is written.'),
    blockSize: z
      .union([z.literal(512), z.literal(4096)])
      .default(512)
      .describe('Logical block size of the volumes, bytes; 4096 where the disks have such sectors.'),
    thinPool: thinPoolSchema.prefault({}).describe('The thin pool of each group. For "thin" only.'),
    maxOverSubscription: z.number().min(1).max(1000).default(10).describe('How far a thin pool may be promised beyond its size.'),
    reserved: share.default(0).describe('Share of a pool that is never promised.'),
    erase: z
      .enum(['zero', 'overwrite', 'discard', 'none'])
      .optional()
      .describe(
        'What happens to the bytes of a deleted volume. "zero": the device is told to zero them (WRITE ZEROES), "overwrite": ' +
          'zeroes are written, "discard": the space is told to be free. Default: "zero" for thick, "discard" for thin.',
      ),
    freeSpace: z
      .enum(['unknown', 'zeroed'])
      .default('unknown')
      .describe(
        'What lies in the free space of the groups. "unknown": a thick volume is zeroed when it is made. "zeroed": you vouch ' +
          'that it reads as zeroes and that nobody else makes volumes there; then "erase" keeps it so.',
      ),
    eraseRate: bytes
      .optional()
      .describe('Bytes a second at most while a thick volume is zeroed or overwritten. Default: no limit.'),
    snapshotReserve: z
      .number()
      .min(0.01)
      .max(1)
      .default(1)
      .describe('Space of a thick snapshot, as a share of its volume. With less than 1 it may run full and is lost then.'),
    snapshotGrowth: z
      .strictObject({
        threshold: percent.default(70).describe('Percent in use at which a thick snapshot grows.'),
        percent: percent.default(20).describe('By how much of its volume it grows.'),
      })
      .prefault({})
      .describe('How a thick snapshot with less space than its volume grows.'),
    refreshInterval: bytes
      .default(60 * second)
      .describe(
        'Milliseconds after which a report of capacities looks at all of a group anew. In between, it asks only what changes ' +
          'by itself, and adds up our own changes; so changes by hand and lost disks show in reports after that time.',
      ),
    lvmConfig: z.string().max(16_384).optional().describe('Text given to every LVM command as "--config" (lvm.conf(5)).'),
    devicesFile: lvmName.optional().describe('Devices file of LVM to use (lvmdevices(8)).'),
    deadlines: z
      .strictObject({
        report: bytes.default(30 * second).describe('Milliseconds for a command that only reads.'),
        change: bytes.default(120 * second).describe('Milliseconds for a command that changes something.'),
        extents: bytes.default(600 * second).describe("Milliseconds for reading a thin pool's metadata."),
      })
      .prefault({})
      .describe('How long commands may take.'),
  })
  .refine(
    ({ provisioning, erase, freeSpace }) =>
      provisioning === 'thin' || freeSpace === 'unknown' || erase === undefined || erase === 'zero' || erase === 'overwrite',
    { path: ['erase'], message: 'Free space stays zeroed only with "zero" or "overwrite"' },
  );
/** See {@link lvmConfigSchema}. */
export type LvmConfig = z.output<typeof lvmConfigSchema>;
/** What happens to the bytes of a deleted volume. */
export type Erase = NonNullable<LvmConfig['erase']>;
