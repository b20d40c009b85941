import type { Tenancy } from '../tenancy/request-context.ts';
import type { NewEvent, StoredEvent } from './event.ts';

/** The outbox of a store. */
export interface EventRepository {
  append(events: readonly NewEvent[], now: number): Promise<void>;
  /** Events after `sequence`, ascending, at most `limit`. */
  after(tenancy: Tenancy, sequence: number, limit: number): Promise<readonly StoredEvent[]>;
  /** Sequence number of the newest event, 0 when there is none. */
  latest(): Promise<number>;
  /** Removes events older than `before`, at most `limit`, oldest first; returns how many. */
  removeOlderThan(before: number, limit: number): Promise<number>;
}
