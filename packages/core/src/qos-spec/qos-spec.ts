/**
 * Who keeps to a QoS spec, Cinder's words: `front-end` is the hypervisor, which finds it in the connection info;
 * `back-end` is the target that publishes the volume.
 */
export const qosConsumers = ['front-end', 'back-end', 'both'] as const;
/** See {@link qosConsumers}. */
export type QosConsumer = (typeof qosConsumers)[number];

/** What volumes of the associated types may ask of storage and network per second. */
export interface QosSpec {
  readonly id: string;
  /** Unique. */
  readonly name: string;
  readonly consumer: QosConsumer;
  /** By key; see `volume-limits.ts` for those that mean something here. Others are for whoever consumes them. */
  readonly specs: Readonly<Record<string, string>>;
  readonly createdAt: number;
  readonly updatedAt: number | null;
}

/** Fields by which QoS specs are filtered and sorted. */
export type QosSpecField = 'id' | 'name' | 'consumer' | 'createdAt' | 'updatedAt';
