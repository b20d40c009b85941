import type { ListQuery } from '../store/list-query.ts';
import type { Tenancy } from '../tenancy/request-context.ts';

/** Tells a user the true reason why something that was accepted did not come about. */
export interface Message {
  readonly id: string;
  readonly projectId: string;
  readonly requestId: string;
  /** Kind of the resource, Cinder's words: `VOLUME`, `VOLUME_SNAPSHOT`. */
  readonly resourceType: string;
  readonly resourceId: string | null;
  readonly level: 'ERROR';
  /** Code of the error. */
  readonly code: string;
  /** What was being done, for example `volume.create`. */
  readonly action: string;
  readonly text: string;
  readonly createdAt: number;
  /** May be removed after this time. */
  readonly guaranteedUntil: number;
}

/** Fields by which messages are filtered and sorted. */
export type MessageField =
  | 'id'
  | 'projectId'
  | 'requestId'
  | 'resourceType'
  | 'resourceId'
  | 'level'
  | 'code'
  | 'createdAt'
  | 'guaranteedUntil';

/** The user messages of a store. */
export interface MessageRepository {
  insert(message: Message): Promise<void>;
  get(tenancy: Tenancy, id: string): Promise<Message>;
  list(tenancy: Tenancy, query: ListQuery<MessageField>): Promise<readonly Message[]>;
  /** `not-found` as {@link get}. */
  remove(tenancy: Tenancy, id: string): Promise<void>;
  /** Removes those guaranteed until before `now`, at most `limit`, oldest first; returns how many. */
  removeExpired(now: number, limit: number): Promise<number>;
}
