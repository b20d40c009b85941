/** A process role that is running, or was. Names of roles are Cinder's, because its clients show them. */
export interface Service {
  /** `cinder-scheduler` or `cinder-volume`. */
  readonly binary: string;
  /** Host name, or `host@backend` for a volume service. */
  readonly host: string;
  readonly availabilityZone: string;
  readonly enabled: boolean;
  readonly disabledReason: string | null;
  /** Time of its last sign of life. */
  readonly seenAt: number;
}

/** The services of a store. */
export interface ServiceRepository {
  /** Inserts a service or notes a sign of life; `enabled` of a known one stays. */
  beat(service: Pick<Service, 'binary' | 'host' | 'availabilityZone' | 'seenAt'>): Promise<void>;
  list(): Promise<readonly Service[]>;
  /** `not-found` when there is no such service. */
  setEnabled(binary: string, host: string, enabled: boolean, reason: string | null): Promise<Service>;
}
