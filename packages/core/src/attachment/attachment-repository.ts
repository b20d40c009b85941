import type { ListQuery } from '../store/list-query.ts';
import type { Tenancy } from '../tenancy/request-context.ts';
import type { Attachment, AttachmentField, AttachmentPatch } from './attachment.ts';

/** The attachments of a store. */
export interface AttachmentRepository {
  insert(attachment: Attachment): Promise<void>;
  /** `not-found` when there is none that the tenancy may see. */
  get(tenancy: Tenancy, id: string): Promise<Attachment>;
  list(tenancy: Tenancy, query: ListQuery<AttachmentField>): Promise<readonly Attachment[]>;
  /** Of several volumes at once, oldest first. */
  ofVolumes(volumeIds: readonly string[]): Promise<readonly Attachment[]>;
  update(id: string, patch: AttachmentPatch, now: number): Promise<Attachment>;
  /** No error when it is gone. */
  remove(id: string): Promise<void>;
  /** How many attachments count on an access. */
  countOnAccess(accessId: string): Promise<number>;
}
