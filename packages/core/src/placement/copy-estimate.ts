import type { Transaction } from '../event/outbox.ts';

/**
 * Bytes that a copy of a placement within its pool would move, for plans: none where the storage copies in an instant.
 *
 * @param placementId - what would be copied.
 * @returns bytes; at most, because holes are not known.
 */
export async function bytesToCopy(transaction: Transaction, placementId: string): Promise<number> {
  const { backendId, pool, size, claimed } = await transaction.placements.get(placementId);
  const backend = (await transaction.backends.list()).find((each) => each.id === backendId);
  const instant = backend?.pools.find((each) => each.name === pool)?.instantCopies ?? false;
  return instant ? 0 : (size ?? claimed);
}
