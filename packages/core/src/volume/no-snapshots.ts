import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';

/**
 * Throws `invalid-state` when a volume has snapshots.
 *
 * @param why - what stands in the way, completes "snapshots, which …".
 */
export async function requireNoSnapshots(transaction: Transaction, volumeId: string, why: string): Promise<void> {
  const count = await transaction.snapshots.count('every-project', { where: [{ field: 'volumeId', op: 'eq', value: volumeId }] });
  if (count === 0) return;
  throw new ScoriaError('invalid-state', `Volume ${volumeId} has ${count} snapshots, which ${why}; delete them first.`);
}
