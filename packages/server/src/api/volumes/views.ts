import type { Attachment, Volume } from '@scoria/core';
import type { z } from 'zod';
import type { CallBase } from '../../http/route.ts';
import { dateTime, optionalDateTime } from '../date-time.ts';
import { resourceLinks } from '../links.ts';
import { gibibytes } from '../request-fields.ts';
import { volumeTypeNames } from '../volume-types/views.ts';
import type { volumeSchema, volumeSummarySchema } from './schemas.ts';
import { shownStatus } from './shown-status.ts';

type VolumeView = z.input<typeof volumeSchema>;

/** Volumes in full, with their attachments and the names of their types, which are looked up once for all. */
export async function volumeViews(call: CallBase, volumes: readonly Volume[]): Promise<VolumeView[]> {
  if (volumes.length === 0) return [];
  const [attachments, typeNames] = await Promise.all([
    call.storage.attachments.ofVolumes(volumes.map((volume) => volume.id)),
    volumeTypeNames(
      call,
      volumes.map((volume) => volume.volumeTypeId),
    ),
  ]);
  const attached = Map.groupBy(
    attachments.filter((attachment) => attachment.status === 'attached'),
    (attachment) => attachment.volumeId,
  );
  return volumes.map((volume) =>
    volumeView(call, volume, attached.get(volume.id) ?? [], typeNames.get(volume.volumeTypeId) ?? null),
  );
}

/** One volume in full. */
export async function oneVolumeView(call: CallBase, volume: Volume): Promise<{ volume: VolumeView }> {
  const [view] = await volumeViews(call, [volume]);
  if (!view) throw new TypeError('there is one view for each volume');
  return { volume: view };
}

function volumeView(call: CallBase, volume: Volume, attachments: readonly Attachment[], typeName: string | null): VolumeView {
  const { isAdmin } = call.context;
  return {
    id: volume.id,
    name: volume.name,
    description: volume.description,
    status: shownStatus(volume.status),
    size: gibibytes(volume.size),
    availability_zone: volume.availabilityZone,
    created_at: dateTime(volume.createdAt),
    updated_at: optionalDateTime(volume.updatedAt),
    volume_type: typeName,
    snapshot_id: volume.snapshotId,
    source_volid: volume.sourceVolumeId,
    metadata: volume.readOnly ? { ...volume.metadata, readonly: 'True' } : { ...volume.metadata },
    links: resourceLinks(call, `volumes/${volume.id}`),
    user_id: volume.userId,
    bootable: volume.bootable ? 'true' : 'false',
    encrypted: false,
    replication_status: null,
    consistencygroup_id: null,
    multiattach: volume.multiattach,
    attachments: attachments.map((attachment) => ({
      id: volume.id,
      attachment_id: attachment.id,
      volume_id: volume.id,
      server_id: attachment.instanceId,
      host_name: isAdmin ? attachment.hostName : null,
      device: attachment.mountpoint,
      attached_at: optionalDateTime(attachment.attachedAt),
    })),
    'os-vol-tenant-attr:tenant_id': volume.projectId,
    group_id: null,
    shared_targets: false,
    service_uuid: null,
    volume_type_id: volume.volumeTypeId,
    consumes_quota: true,
    ...(isAdmin && {
      migration_status: volume.migrationStatus,
      'os-vol-host-attr:host': volume.hostString,
      'os-vol-mig-status-attr:migstat': volume.migrationStatus,
      'os-vol-mig-status-attr:name_id': null,
      provider_id: null,
      cluster_name: null,
    }),
  };
}

/** A volume in a short list. */
export function volumeSummaryView(call: CallBase, volume: Volume): z.input<typeof volumeSummarySchema> {
  return { id: volume.id, name: volume.name, links: resourceLinks(call, `volumes/${volume.id}`) };
}
