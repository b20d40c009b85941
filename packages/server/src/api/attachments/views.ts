import type { Attachment } from '@scoria/core';
import type { z } from 'zod';
import type { CallBase } from '../../http/route.ts';
import { dateTime } from '../date-time.ts';
import type { attachmentSchema, attachmentSummarySchema } from './schemas.ts';

/** An attachment in a short list. */
export function attachmentSummaryView(attachment: Attachment): z.input<typeof attachmentSummarySchema> {
  return {
    id: attachment.id,
    status: attachment.status,
    instance: attachment.instanceId,
    volume_id: attachment.volumeId,
  };
}

/** An attachment in full. The connection info is flat here, as os-brick's callers of this API expect it. */
export async function attachmentView(call: CallBase, attachment: Attachment): Promise<z.input<typeof attachmentSchema>> {
  const info = attachment.accessId === null ? null : await call.storage.attachments.connectionInfo(call.context, attachment.id);
  return {
    ...attachmentSummaryView(attachment),
    attached_at: attachment.attachedAt === null ? '' : dateTime(attachment.attachedAt),
    detached_at: '',
    attach_mode: attachment.mode,
    connection_info: info
      ? {
          ...info.data,
          driver_volume_type: info.driverVolumeType,
          attachment_id: attachment.id,
          access_mode: attachment.mode,
          encrypted: false,
          cacheable: false,
          enforce_multipath: attachment.connector?.multipath ?? false,
        }
      : {},
  };
}
