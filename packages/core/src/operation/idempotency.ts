/** A request that names itself, so that it is carried out once however often it is sent. */
export interface IdempotencyKey {
  /** Chosen by the caller, at most 255 characters; belongs to the caller's project. */
  readonly key: string;
  /** Digest of what was asked: another request under the same key is refused. */
  readonly fingerprint: string;
}

/** What a named request led to. */
export interface RememberedRequest extends IdempotencyKey {
  readonly projectId: string;
  readonly resourceId: string;
  /** `null` when the request needed no operation. */
  readonly operationId: string | null;
  readonly createdAt: number;
}

/** The named requests of a store. */
export interface RememberedRequestRepository {
  find(projectId: string, key: string): Promise<RememberedRequest | undefined>;
  /** `conflict` when the project has used the key. */
  insert(request: RememberedRequest): Promise<void>;
  /** Removes those from before `before`, at most `limit`, oldest first; returns how many. */
  removeOlderThan(before: number, limit: number): Promise<number>;
}
