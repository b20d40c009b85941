import type { Transaction } from '../event/outbox.ts';
import type { Repositories } from '../store/store.ts';

/**
 * Bytes that a copy of a placement within its pool would move, for plans: none where the storage copies in an instant.
 *
 * @param placementId - what would be copied.
 * @returns bytes; at most, because holes are not known.
 */
export async function bytesToCopy(transaction: Transaction, placementId: string): Promise<number> {
  const { size, claimed } = await transaction.placements.get(placementId);
  return (await copiesInstantly(transaction, placementId)) ? 0 : (size ?? claimed);
}

/** Whether the pool of a placement makes copies of it without moving bytes, as far as its backend has told. */
export async function copiesInstantly(
  { placements, backends }: Pick<Repositories, 'placements' | 'backends'>,
  placementId: string,
): Promise<boolean> {
  const { backendId, pool } = await placements.get(placementId);
  const backend = (await backends.list()).find((each) => each.id === backendId);
  return backend?.pools.find((each) => each.name === pool)?.instantCopies ?? false;
}
