/** Quantities of a volume's I/O that can be limited; each is counted per second. */
export const limitedQuantities = [
  'readOperations',
  'writeOperations',
  'totalOperations',
  'readBytes',
  'writeBytes',
  'totalBytes',
] as const;
/** See {@link limitedQuantities}. */
export type LimitedQuantity = (typeof limitedQuantities)[number];

/** A rate, and what may come at once after a rest. */
export interface RateLimit {
  /** Operations or bytes per second, more than 0. */
  readonly perSecond: number;
  /** Operations or bytes that may come at once, more than 0. */
  readonly burst: number;
}

/**
 * How much I/O a volume may do, all its accesses together. What is absent is not limited. A total and the limit of one
 * direction may both be there; then both hold.
 */
export interface IoLimits extends Readonly<Partial<Record<LimitedQuantity, RateLimit | undefined>>> {
  /** Bytes that one operation may have before it counts as several. Absent: each counts once, however large. */
  readonly operationSize?: number | undefined;
}
