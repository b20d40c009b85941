import type { ListQuery } from '../store/list-query.ts';
import type { QosSpec, QosSpecField } from './qos-spec.ts';

/** The QoS specs of a store. They belong to no project. */
export interface QosSpecRepository {
  /** `conflict` when the name is taken. */
  insert(spec: QosSpec): Promise<void>;
  /** `not-found` when there is none. */
  get(id: string): Promise<QosSpec>;
  list(query: ListQuery<QosSpecField>): Promise<readonly QosSpec[]>;
  /** `not-found` as {@link get}. */
  update(id: string, patch: Partial<Pick<QosSpec, 'consumer' | 'specs'>>, now: number): Promise<QosSpec>;
  /** Removes the row; no volume type may refer to it any more. No error when it is gone. */
  remove(id: string): Promise<void>;
}
