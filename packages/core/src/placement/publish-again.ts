import type { Access } from '../attachment/access.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Log } from '../platform/log.ts';
import type { Store } from '../store/store.ts';
import type { Transport } from '../transport/transport.ts';
import type { PluginCall } from '../volume/driver.ts';

/** What {@link publishAgain} works with. */
export interface PublishingTools {
  readonly store: Store;
  readonly log: Log;
  /** Publishes an access where its volume lies, also when that changes meanwhile. */
  publish(accessId: string): Promise<void>;
}

/**
 * For a backend that comes into service: every open access to its volumes is exported as before, and what its transport has
 * that no access asks for is ended. What cannot be exported or ended is told in the log, and left to the reconciler.
 */
export async function publishAgain(
  transport: Transport,
  backendId: string,
  call: PluginCall,
  { store, log, publish }: PublishingTools,
): Promise<void> {
  const { accesses, placements } = store.reading;
  const again = async (access: Access) => {
    const placement = await placements.get(access.placementId);
    if (placement.backendId !== backendId) return;
    await publish(access.id);
    // Another process may have ended it meanwhile: what came after its fence is taken back.
    const open = (await accesses.ofVolume(access.volumeId)).some(({ id, state }) => id === access.id && state === 'open');
    if (!open) await transport.unexport(access.id, call);
  };
  const open = (await accesses.all()).filter((access) => access.state === 'open');
  for (const [index, result] of (await Promise.allSettled(open.map(again))).entries()) {
    if (result.status === 'rejected') {
      log.error({ err: ScoriaError.from(result.reason), accessId: open[index]?.id }, 'an access could not be published again');
    }
  }
  const published = await transport.list(call);
  // Read after the transport: an access of another backend that is in service may have come since, and it is in the store first.
  const wanted = new Set((await accesses.all()).map(({ id }) => id));
  for (const { accessId } of published) {
    if (wanted.has(accessId)) continue;
    await transport.unexport(accessId, call).catch((error: unknown) => {
      call.signal.throwIfAborted();
      log.error({ err: ScoriaError.from(error), accessId }, 'an export without an access could not be ended');
    });
  }
}
