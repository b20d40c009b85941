import { z } from 'zod';
import type { BlockDevice } from './block-device.ts';

/**
 * Plain data with which a process opens a volume as a {@link BlockDevice}. `kind` names the opener: `path` is built in
 * (a regular file or a block device node on this host); a driver may bring another kind together with its opener.
 */
export const deviceLocatorSchema = z.object({
  kind: z.string().min(1).max(64),
  /** Absolute path for kind `path`; for other kinds whatever their opener understands. */
  path: z.string().min(1).max(4096),
  /** Logical block size to present, bytes. */
  blockSize: z.union([z.literal(512), z.literal(4096)]),
  /**
   * Block device nodes that read as zeroes what was discarded, in whole units of so many bytes, aligned to them; of a
   * smaller part nothing is freed. Absent: a discard promises nothing.
   */
  zeroingDiscard: z.number().int().positive().optional(),
});
/** See {@link deviceLocatorSchema}. */
export type DeviceLocator = z.infer<typeof deviceLocatorSchema>;

/** How a device is opened. */
export interface OpenOptions {
  readonly readOnly: boolean;
}

/** Opens locators of one kind. */
export type DeviceOpener = (locator: DeviceLocator, options: OpenOptions) => Promise<BlockDevice>;

/** The openers that a process has, by locator kind. */
export type DeviceOpeners = Readonly<Record<string, DeviceOpener>>;
