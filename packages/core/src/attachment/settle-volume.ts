import type { Transaction } from '../event/outbox.ts';
import { settledStatus } from '../volume/settled-status.ts';
import { settledVolumeStatuses } from '../volume/volume.ts';

/**
 * Gives a volume the status that follows from its attachments, in the transaction that changes these. While something else
 * is done to the volume its status stays: the end of that settles it.
 */
export async function settleVolume(transaction: Transaction, volumeId: string, now: number): Promise<void> {
  const volume = await transaction.volumes.get('every-project', volumeId);
  const status = settledStatus(await transaction.attachments.ofVolumes([volumeId]));
  const settled: readonly string[] = settledVolumeStatuses;
  if (status === volume.status || !settled.includes(volume.status)) return;
  await transaction.volumes.transition('every-project', volumeId, 'attachmentsChanged', now, { to: status });
  transaction.emit({ name: 'volume.changed', payload: { volumeId, projectId: volume.projectId, status } });
}
