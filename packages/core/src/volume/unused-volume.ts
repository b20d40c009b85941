import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import type { Volume } from './volume.ts';

/** Throws `invalid-state` when a host uses a volume, is about to, or may still reach it. */
export async function requireUnused(transaction: Transaction, { id, status }: Volume): Promise<void> {
  const attachments = await transaction.attachments.ofVolumes([id]);
  if (attachments.length > 0) {
    throw new ScoriaError(
      'invalid-state',
      `Volume ${id} is ${status} and has ${attachments.length} attachments; detach it first.`,
      { details: { status } },
    );
  }
  const accesses = await transaction.accesses.ofVolume(id);
  if (accesses.length > 0) {
    throw new ScoriaError(
      'invalid-state',
      `Volume ${id} may still be published: the end of an access to it has not succeeded yet.`,
    );
  }
}
