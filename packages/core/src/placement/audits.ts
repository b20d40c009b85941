import type { Plugins } from '../plugin/plugins.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Store } from '../store/store.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import type { ExportStats, ExportStatus } from '../transport/transport.ts';
import type { ListedObject } from '../volume/driver.ts';
import type { Backends } from './backends.ts';
import type { Placement } from './placement.ts';

/** What one backend has against what the store knows. Both lists are empty when all is well and nothing is under way. */
export interface BackendAudit {
  readonly backend: string;
  /** On the backend, without a placement. */
  readonly unknown: readonly ListedObject[];
  /** Placements that were made, without their object. */
  readonly missing: readonly Placement[];
}

/** What one transport publishes against what the store knows. */
export interface TransportAudit {
  readonly transport: string;
  readonly exports: readonly ExportStatus[];
  readonly stats: readonly ExportStats[];
  /** Published, without an access. */
  readonly unknown: readonly string[];
  /** Open accesses of this process's backends that are not published. */
  readonly missing: readonly string[];
}

const page = 1000;

/** Compares backends and transports with the store, both ways. Reads only; work under way can show up as a difference. */
@wired(tokens.Store, tokens.Plugins, tokens.Backends)
export class Audits {
  readonly #store: Store;
  readonly #plugins: Plugins;
  readonly #backends: Backends;

  constructor(store: Store, plugins: Plugins, backends: Backends) {
    this.#store = store;
    this.#plugins = plugins;
    this.#backends = backends;
  }

  /** Audits everything that this process serves. `signal` ends it early. */
  async run(
    context: RequestContext,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<{ readonly backends: readonly BackendAudit[]; readonly transports: readonly TransportAudit[] }> {
    requireAdmin(context, 'audit the backends');
    return {
      backends: await Promise.all(this.#backends.servedIds().map((id) => this.backend(context, id, signal))),
      transports: await Promise.all(this.#plugins.transports.map(({ name }) => this.transport(context, name, signal))),
    };
  }

  /** Audits one backend. Throws when it could not be listed whole. */
  async backend(context: RequestContext, id: string, signal: AbortSignal): Promise<BackendAudit> {
    requireAdmin(context, 'audit the backends');
    const { name, driver } = this.#backends.get(id);
    const objects = new Map<string, ListedObject>();
    const listing = driver.list({ signal, fence: 0, progress: () => {} });
    for await (const object of untilAborted(listing, signal)) objects.set(object.placementId, object);
    // The store is read after the backend: what is made meanwhile has its placement already.
    const missing: Placement[] = [];
    for (let after: string | null = null; ;) {
      const placements: readonly Placement[] = await this.#store.reading.placements.ofBackend(id, after, page);
      for (const placement of placements) {
        if (!objects.delete(placement.id) && placement.backendRef !== null) missing.push(placement);
      }
      const last: Placement | undefined = placements.at(-1);
      if (!last || placements.length < page) return { backend: name, unknown: [...objects.values()], missing };
      after = last.id;
    }
  }

  /** Audits one transport. Throws when it could not be listed. */
  async transport(context: RequestContext, name: string, signal: AbortSignal): Promise<TransportAudit> {
    requireAdmin(context, 'audit the transports');
    const call = { signal, fence: 0, progress: () => {} };
    const transport = this.#plugins.transports.find((each) => each.name === name)?.transport;
    if (!transport) return { transport: name, exports: [], stats: [], unknown: [], missing: [] };
    const [exports, stats] = [await transport.list(call), await transport.stats(call)];
    const accesses = await this.#store.reading.accesses.all();
    const known = new Set(accesses.map((access) => access.id));
    const published = new Set(exports.map((each) => each.accessId));
    const missing: string[] = [];
    for (const access of accesses) {
      if (access.state !== 'open' || published.has(access.id)) continue;
      const { backendId } = await this.#store.reading.placements.get(access.placementId);
      if (this.#backends.servedIds().includes(backendId) && this.#backends.get(backendId).transport === transport)
        missing.push(access.id);
    }
    return { transport: name, exports, stats, unknown: [...published].filter((id) => !known.has(id)), missing };
  }
}

/** What `items` gives; throws the signal's reason as soon as it aborts, whether or not `items` minds it. */
async function* untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  aborted.catch(() => {});
  signal.addEventListener('abort', onAbort, { once: true });
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      signal.throwIfAborted();
      const next = await Promise.race([iterator.next(), aborted]);
      if (next.done) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    // Not waited for: it may hang where `next` did.
    iterator.return?.().catch(() => {});
  }
}
