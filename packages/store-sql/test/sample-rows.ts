import type {
  Access,
  Attachment,
  Message,
  Operation,
  Placement,
  QosSpec,
  Snapshot,
  Store,
  Volume,
  VolumeType,
} from '@scoria/core';
import { createSqliteStore } from '../src/index.ts';

/** An open store in memory with one volume type `type-1`; closes at the end of the scope. */
export async function openStore(path = ':memory:'): Promise<Store & AsyncDisposable> {
  const store = createSqliteStore({ path });
  await store.open();
  await store.transaction((r) => r.volumeTypes.insert(volumeType()));
  return Object.assign(store, { [Symbol.asyncDispose]: () => store.close() });
}

export function volumeType(fields: Partial<VolumeType> = {}): VolumeType {
  return {
    id: 'type-1',
    name: 'fast',
    description: null,
    isPublic: true,
    extraSpecs: {},
    qosSpecId: null,
    createdAt: 1,
    updatedAt: null,
    ...fields,
  };
}

export function qosSpec(fields: Partial<QosSpec> = {}): QosSpec {
  return {
    id: 'spec-1',
    name: 'gold',
    consumer: 'back-end',
    specs: { total_iops_sec: '500' },
    createdAt: 1,
    updatedAt: null,
    ...fields,
  };
}

export function volume(fields: Partial<Volume> = {}): Omit<Volume, 'hostString'> {
  return {
    id: 'volume-1',
    projectId: 'project-1',
    userId: 'user-1',
    name: null,
    description: null,
    size: 1024,
    status: 'creating',
    volumeTypeId: 'type-1',
    availabilityZone: 'nova',
    bootable: false,
    readOnly: false,
    multiattach: false,
    metadata: {},
    sourceVolumeId: null,
    snapshotId: null,
    placementId: null,
    migrationStatus: null,
    createdAt: 100,
    updatedAt: null,
    launchedAt: null,
    ...fields,
  };
}

export function snapshot(fields: Partial<Snapshot> = {}): Snapshot {
  return {
    id: 'snapshot-1',
    projectId: 'project-1',
    userId: 'user-1',
    volumeId: 'volume-1',
    volumeTypeId: 'type-1',
    name: null,
    description: null,
    size: 1024,
    status: 'creating',
    metadata: {},
    placementId: null,
    createdAt: 100,
    updatedAt: null,
    ...fields,
  };
}

export function attachment(fields: Partial<Attachment> = {}): Attachment {
  return {
    id: 'attachment-1',
    volumeId: 'volume-1',
    projectId: 'project-1',
    userId: 'user-1',
    instanceId: null,
    status: 'reserved',
    mode: 'rw',
    connector: null,
    mountpoint: null,
    hostName: null,
    accessId: null,
    createdAt: 100,
    updatedAt: null,
    attachedAt: null,
    ...fields,
  };
}

export function access(fields: Partial<Access> = {}): Access {
  return {
    id: 'access-1',
    volumeId: 'volume-1',
    placementId: 'placement-1',
    initiator: 'iqn.2026-01.example:host',
    readOnly: false,
    state: 'opening',
    createdAt: 100,
    ...fields,
  };
}

export function placement(fields: Partial<Placement> = {}): Placement {
  return {
    id: 'placement-1',
    backendId: 'backend-1',
    pool: 'ssd',
    kind: 'volume',
    resourceId: 'volume-1',
    claimed: 1024,
    size: null,
    backendRef: null,
    createdAt: 100,
    ...fields,
  };
}

export function operation(fields: Partial<Operation> = {}): Operation {
  return {
    id: 'operation-1',
    name: 'volume.create',
    projectId: 'project-1',
    userId: 'user-1',
    requestId: 'req-1',
    resourceKind: 'volume',
    resourceId: 'volume-1',
    status: 'running',
    step: 0,
    started: false,
    input: { size: 1 },
    state: {},
    role: 'scheduler',
    backendId: null,
    leaseOwner: null,
    leaseUntil: 0,
    fence: 0,
    attempts: 0,
    notBefore: 0,
    cancelRequested: false,
    progress: null,
    error: null,
    createdAt: 100,
    updatedAt: 100,
    endedAt: null,
    ...fields,
  };
}

export function message(fields: Partial<Message> = {}): Message {
  return {
    id: 'message-1',
    projectId: 'project-1',
    requestId: 'req-1',
    resourceType: 'VOLUME',
    resourceId: 'volume-1',
    level: 'ERROR',
    code: 'no-valid-backend',
    action: 'volume.create',
    text: 'No pool can take it.',
    createdAt: 100,
    guaranteedUntil: 200,
    ...fields,
  };
}
