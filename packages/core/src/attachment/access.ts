/**
 * A volume made reachable for one initiator host. It owns one target and one secret; attachments count on it, and the
 * fence falls with the last one. The secret is derived from a key file and the id, and stored nowhere.
 */
export interface Access {
  /** UUID; the target's name is made from it and never used again. */
  readonly id: string;
  readonly volumeId: string;
  readonly placementId: string;
  /** Initiator name of the host: with the volume it is unique among accesses that are not ending. */
  readonly initiator: string;
  readonly readOnly: boolean;
  /** `ending`: the fence is being raised; no attachment may count on it any more. */
  readonly state: 'opening' | 'open' | 'ending';
  readonly createdAt: number;
}

/** The accesses of a store. */
export interface AccessRepository {
  insert(access: Access): Promise<void>;
  /** `not-found` when there is none. */
  get(id: string): Promise<Access>;
  /** The access of a volume for an initiator, unless it is ending. */
  find(volumeId: string, initiator: string): Promise<Access | undefined>;
  ofVolume(volumeId: string): Promise<readonly Access[]>;
  /** All of them, for a restart. */
  all(): Promise<readonly Access[]>;
  /** The volume lies elsewhere now: all its accesses are for that placement. */
  movePlacement(volumeId: string, placementId: string): Promise<void>;
  setState(id: string, state: Access['state']): Promise<void>;
  /** No error when it is gone. */
  remove(id: string): Promise<void>;
}
