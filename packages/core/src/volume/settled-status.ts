import type { Attachment } from '../attachment/attachment.ts';
import type { SettledVolumeStatus } from './volume.ts';

/** The status of a volume to which nothing else is being done, from its attachments: the strongest use wins. */
export function settledStatus(attachments: readonly Pick<Attachment, 'status'>[]): SettledVolumeStatus {
  const has = (status: Attachment['status']) => attachments.some((attachment) => attachment.status === status);
  if (has('attached')) return 'in-use';
  if (has('detaching')) return 'detaching';
  if (has('attaching')) return 'attaching';
  if (has('reserved')) return 'reserved';
  return 'available';
}
