import type { ResourceUse } from '@scoria/core';
import type { Generated } from 'kysely';
import type { accessTable } from './accesses.ts';
import type { attachmentTable } from './attachments.ts';
import type { backendTable } from './backends.ts';
import type { messageTable } from './messages.ts';
import type { journalTable, operationTable } from './operations.ts';
import type { placementTable } from './placements.ts';
import type { qosSpecTable } from './qos-specs.ts';
import type { rememberedRequestTable } from './remembered-requests.ts';
import type { findingTable, reconciliationRunTable } from './reconciliation.ts';
import type { serviceTable } from './services.ts';
import type { snapshotTable } from './snapshots.ts';
import type { CountedKind } from './project-usage.ts';
import type { RowOf } from './table.ts';
import type { volumeTypeTable } from './volume-types.ts';
import type { volumeTable } from './volumes.ts';

/** Every table, for Kysely. Tables of entities follow from their definitions. */
export interface Database {
  volumes: RowOf<typeof volumeTable>;
  snapshots: RowOf<typeof snapshotTable>;
  attachments: RowOf<typeof attachmentTable>;
  accesses: RowOf<typeof accessTable>;
  placements: RowOf<typeof placementTable>;
  /** Sums over `placements`, written in the same transaction, so that scheduling costs the same with a million of them. */
  pool_claims: { backend_id: string; pool: string; claimed: number; placements: number };
  /** Sums over `volumes` and `snapshots`, written in the same transaction, so that a quota is checked at the same cost with a million of them. */
  project_usage: { project_id: string; kind: CountedKind; volume_type_id: string; number: number; bytes: number };
  backends: RowOf<typeof backendTable>;
  volume_types: RowOf<typeof volumeTypeTable>;
  qos_specs: RowOf<typeof qosSpecTable>;
  volume_type_access: { volume_type_id: string; project_id: string };
  quota_limits: { scope: 'project' | 'class'; name: string; resource: string; hard_limit: number };
  messages: RowOf<typeof messageTable>;
  services: RowOf<typeof serviceTable>;
  operations: RowOf<typeof operationTable>;
  /** Uses of operations that have not ended. */
  operation_uses: { kind: ResourceUse['kind']; resource_id: string; operation_id: string; mode: ResourceUse['mode'] };
  operation_journal: RowOf<typeof journalTable>;
  remembered_requests: RowOf<typeof rememberedRequestTable>;
  events: EventRow;
  findings: RowOf<typeof findingTable>;
  reconciliation_runs: RowOf<typeof reconciliationRunTable>;
  reconciliation_leases: { name: string; owner: string; until: number };
  /** Ids of placements that were, so that an object found later can be told from one that never was ours. */
  removed_placements: { id: string; noticed_at: number | null };
  /** Numbers that only grow: `fence`. */
  counters: { name: string; value: number };
  /** Facts about the store itself: `schema-version`, `installation-id`. */
  store_properties: { name: string; value: string };
}

interface EventRow {
  /** Given by the engine. */
  sequence: Generated<number>;
  at: number;
  project_id: string;
  name: string;
  payload: string;
}
