import type { AttachmentField } from '@scoria/core';
import { Listing, textFilter } from '../listing.ts';

/** What can be asked of a list of attachments. */
export const attachmentListing = new Listing<AttachmentField>({
  resource: 'attachment',
  filters: {
    id: textFilter('id'),
    volume_id: textFilter('volumeId'),
    status: textFilter('status'),
    attach_status: textFilter('status'),
    instance_id: textFilter('instanceId'),
    attached_host: { ...textFilter('hostName'), admin: true },
    project_id: { ...textFilter('projectId'), admin: true },
  },
  sort: {
    id: 'id',
    volume_id: 'volumeId',
    status: 'status',
    attach_status: 'status',
    instance_id: 'instanceId',
    instance_uuid: 'instanceId',
    created_at: 'createdAt',
    updated_at: 'updatedAt',
  },
});
