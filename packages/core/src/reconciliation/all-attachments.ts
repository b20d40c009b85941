import type { Attachment, AttachmentField } from '../attachment/attachment.ts';
import { allRows } from '../store/all-rows.ts';
import type { PassTools } from './observation.ts';

/** Every project's attachments. What is added meanwhile may be missing. */
export function allAttachments({ store }: Pick<PassTools, 'store'>): Promise<Attachment[]> {
  return allRows<Attachment, AttachmentField>((query) => store.reading.attachments.list('every-project', query));
}
