/** A run of bytes of a device. `offset` and `length` are in bytes, multiples of the block size. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** Options of a write. */
export interface WriteOptions {
  /** Force unit access: the promise settles only when the data are on stable storage (SBC-4, FUA bit). */
  readonly fua?: boolean;
}

/**
 * An open, byte-addressable volume. The embedded target, copies, clones and (later) backups all stand on it.
 *
 * - Offsets and lengths are bytes and multiples of {@link blockSize}; all within {@link size}, else `device-out-of-range`.
 * - Reads of what was never written, or was discarded, give zeroes.
 * - Concurrent calls are allowed. Overlapping writes may land in either order, each block from one of them.
 * - A completed write is seen by every later read, and is on stable storage only after `fua` or a later {@link flush}.
 * - Errors are `ScoriaError`s with a `device-…` code, from which SCSI sense data follow.
 */
export interface BlockDevice {
  /** Present size in bytes; changes only by {@link refreshSize}. */
  readonly size: number;
  /** Logical block size in bytes: 512 or 4096. */
  readonly blockSize: number;
  readonly readOnly: boolean;
  /** Fills `into` from `offset`. */
  read(into: Uint8Array, offset: number): Promise<void>;
  /** Writes all of `data` at `offset`. The caller must not change `data` until the promise settles. */
  write(data: Uint8Array, offset: number, options?: WriteOptions): Promise<void>;
  /** Makes a range read as zeroes, by freeing its space where the storage can. */
  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void>;
  /** Frees the space of a range where the storage can; it reads as zeroes afterwards. */
  discard(offset: number, length: number): Promise<void>;
  /** Settles when every write completed before the call is on stable storage. */
  flush(): Promise<void>;
  /**
   * The parts of a range that may hold data, in ascending order, not overlapping; what is not listed reads as zeroes.
   * A device that cannot tell lists the whole range.
   */
  allocatedExtents(offset: number, length: number): AsyncIterable<Extent>;
  /** Asks the storage for its size again (after an extend) and returns it. */
  refreshSize(): Promise<number>;
  /** Waits for calls under way, then lets go of the device. A second call does nothing. */
  close(): Promise<void>;
}
