import type { AccessRepository } from '../attachment/access.ts';
import type { AttachmentRepository } from '../attachment/attachment-repository.ts';
import type { EventRepository } from '../event/event-repository.ts';
import type { MessageRepository } from '../message/message.ts';
import type { RememberedRequestRepository } from '../operation/idempotency.ts';
import type { OperationRepository } from '../operation/operation-repository.ts';
import type { BackendRepository } from '../placement/backend.ts';
import type { PlacementRepository } from '../placement/placement.ts';
import type { QosSpecRepository } from '../qos-spec/qos-spec-repository.ts';
import type { QuotaRepository } from '../quota/quota.ts';
import type { ReconciliationRepository } from '../reconciliation/finding.ts';
import type { ServiceRepository } from '../service/service.ts';
import type { SnapshotRepository } from '../snapshot/snapshot-repository.ts';
import type { VolumeRepository } from '../volume/volume-repository.ts';
import type { VolumeTypeRepository } from '../volume-type/volume-type-repository.ts';

/** All repositories, bound to one transaction or to none. */
export interface Repositories {
  readonly volumes: VolumeRepository;
  readonly snapshots: SnapshotRepository;
  readonly attachments: AttachmentRepository;
  readonly accesses: AccessRepository;
  readonly placements: PlacementRepository;
  readonly backends: BackendRepository;
  readonly volumeTypes: VolumeTypeRepository;
  readonly qosSpecs: QosSpecRepository;
  readonly quotas: QuotaRepository;
  readonly messages: MessageRepository;
  readonly services: ServiceRepository;
  readonly operations: OperationRepository;
  readonly rememberedRequests: RememberedRequestRepository;
  readonly events: EventRepository;
  readonly reconciliation: ReconciliationRepository;
}

/** Where Scoria keeps what it knows. */
export interface Store {
  /** Makes or migrates the tables. `data-directory-newer` when a later version wrote them. */
  open(): Promise<void>;
  close(): Promise<void>;
  /** UUID of the installation, made when the store was. */
  installationId(): Promise<string>;
  /** For reads of a single statement, outside of a transaction. */
  readonly reading: Repositories;
  /**
   * Runs `work` in one serialisable transaction: all of it lands, durably, or nothing. `work` awaits nothing but the
   * repositories that it is given. A store may run it again after undoing it, so it changes nothing else.
   */
  transaction<T>(work: (repositories: Repositories) => Promise<T>): Promise<T>;
}
