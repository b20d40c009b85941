import type { VolumeField } from '@scoria/core';
import { statusesShownAs } from './shown-status.ts';
import { constantFilter, flagFilter, Listing, numberFilter, textFilter, timeFilter } from '../listing.ts';

/** What can be asked of a list of volumes. */
export const volumeListing = new Listing<VolumeField>({
  resource: 'volume',
  metadataSince: '3.0',
  filters: {
    id: textFilter('id'),
    name: textFilter('name'),
    display_name: textFilter('name'),
    description: textFilter('description'),
    status: {
      like: 'status',
      read: (value) => [{ field: 'status', op: 'in', value: statusesShownAs(value) }],
    },
    size: numberFilter('size', 2 ** 30),
    availability_zone: textFilter('availabilityZone'),
    bootable: flagFilter('bootable', '3.2'),
    multiattach: flagFilter('multiattach'),
    volume_type_id: textFilter('volumeTypeId'),
    snapshot_id: textFilter('snapshotId'),
    source_volid: textFilter('sourceVolumeId'),
    user_id: textFilter('userId'),
    migration_status: { read: (value) => [{ field: 'migrationStatus', op: 'eq', value: value === 'None' ? null : value }] },
    host: { ...textFilter('hostString'), admin: true },
    project_id: { ...textFilter('projectId'), admin: true },
    created_at: timeFilter('createdAt', '3.60'),
    updated_at: timeFilter('updatedAt', '3.60'),
    // What this service does not have yet, so that a filter by it still tells the truth.
    replication_status: constantFilter(null),
    encrypted: constantFilter(false),
    consistencygroup_id: constantFilter(null),
    group_id: { ...constantFilter(null), since: '3.10' },
    glance_metadata: { ...constantFilter(null), since: '3.4' },
    consumes_quota: { ...constantFilter(true), since: '3.65' },
  },
  sort: {
    id: 'id',
    name: 'name',
    display_name: 'name',
    description: 'description',
    status: 'status',
    size: 'size',
    availability_zone: 'availabilityZone',
    bootable: 'bootable',
    multiattach: 'multiattach',
    volume_type_id: 'volumeTypeId',
    snapshot_id: 'snapshotId',
    source_volid: 'sourceVolumeId',
    user_id: 'userId',
    project_id: 'projectId',
    host: 'hostString',
    created_at: 'createdAt',
    updated_at: 'updatedAt',
    launched_at: 'launchedAt',
  },
});
