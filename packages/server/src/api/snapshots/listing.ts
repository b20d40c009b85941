import type { SnapshotField } from '@scoria/core';
import { constantFilter, Listing, numberFilter, textFilter, timeFilter } from '../listing.ts';

/** What can be asked of a list of snapshots. */
export const snapshotListing = new Listing<SnapshotField>({
  resource: 'snapshot',
  metadataSince: '3.22',
  filters: {
    id: textFilter('id'),
    name: textFilter('name'),
    display_name: textFilter('name'),
    description: textFilter('description'),
    status: textFilter('status'),
    size: numberFilter('size', 2 ** 30),
    volume_size: numberFilter('size', 2 ** 30),
    volume_id: textFilter('volumeId'),
    volume_type_id: textFilter('volumeTypeId'),
    availability_zone: textFilter('availabilityZone'),
    user_id: textFilter('userId'),
    project_id: { ...textFilter('projectId'), admin: true },
    created_at: timeFilter('createdAt', '3.60'),
    updated_at: timeFilter('updatedAt', '3.60'),
    group_snapshot_id: { ...constantFilter(null), since: '3.14' },
    consumes_quota: { ...constantFilter(true), since: '3.65' },
  },
  sort: {
    id: 'id',
    name: 'name',
    display_name: 'name',
    description: 'description',
    status: 'status',
    size: 'size',
    volume_size: 'size',
    volume_id: 'volumeId',
    volume_type_id: 'volumeTypeId',
    availability_zone: 'availabilityZone',
    user_id: 'userId',
    project_id: 'projectId',
    created_at: 'createdAt',
    updated_at: 'updatedAt',
  },
});
