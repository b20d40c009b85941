import type { Connector } from '../transport/transport.ts';

/** Statuses of an attachment, Cinder's words. */
export type AttachmentStatus = 'reserved' | 'attaching' | 'attached' | 'detaching';

/** How a host may use the volume. */
export type AttachMode = 'rw' | 'ro';

/** The use of a volume by one machine. */
export interface Attachment {
  readonly id: string;
  readonly volumeId: string;
  /** Of the volume. */
  readonly projectId: string;
  readonly userId: string;
  /** The machine's id, as the caller names it. */
  readonly instanceId: string | null;
  readonly status: AttachmentStatus;
  readonly mode: AttachMode;
  readonly connector: Connector | null;
  /** Where the machine sees the volume, for example `/dev/vdb`. */
  readonly mountpoint: string | null;
  readonly hostName: string | null;
  /** The access that it counts on; `null` before a connector is known. */
  readonly accessId: string | null;
  readonly createdAt: number;
  readonly updatedAt: number | null;
  readonly attachedAt: number | null;
}

/** Fields by which attachments are filtered and sorted. */
export type AttachmentField = 'id' | 'volumeId' | 'projectId' | 'instanceId' | 'status' | 'hostName' | 'createdAt' | 'updatedAt';

/** Fields that may be written. */
export type AttachmentPatch = Partial<
  Pick<Attachment, 'status' | 'mode' | 'connector' | 'mountpoint' | 'hostName' | 'accessId' | 'instanceId' | 'attachedAt'>
>;
