import { type ErrorData, ScoriaError } from '../error/scoria-error.ts';
import type { Clock } from '../platform/clock.ts';
import { withDeadline } from '../platform/deadline.ts';
import type { Plugins } from '../plugin/plugins.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import { orMissing } from '../store/or-missing.ts';
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
  /** Open accesses of this process's backends of which only a part is published ({@link ExportStatus.complete}). */
  readonly incomplete: readonly string[];
}

/** Why a backend or transport could not be audited. */
export type AuditFailure = Pick<ErrorData, 'code' | 'message' | 'remedy'>;

/** An audit that was done, or of a party that could not be looked at: then all is `null` but its name. */
export type Attempted<Audit, Name extends keyof Audit> =
  | (Audit & { readonly failure: null })
  | (Pick<Audit, Name> & { readonly [Key in Exclude<keyof Audit, Name>]: null } & { readonly failure: AuditFailure });

/** What {@link Audits.run} found. */
export interface AuditReport {
  readonly backends: readonly Attempted<BackendAudit, 'backend'>[];
  readonly transports: readonly Attempted<TransportAudit, 'transport'>[];
}

const page = 1000;
/** Most time for one backend or transport when somebody waits for the answer, ms. */
const patience = 120_000;
/** Most time for a listing, ms: one that takes longer hangs. */
const longestListing = 480_000;

/** Compares backends and transports with the store, both ways. Reads only; work under way can show up as a difference. */
@wired(tokens.Store, tokens.Plugins, tokens.Backends, tokens.Clock)
export class Audits {
  readonly #store: Store;
  readonly #plugins: Plugins;
  readonly #backends: Backends;
  readonly #clock: Clock;

  constructor(store: Store, plugins: Plugins, backends: Backends, clock: Clock) {
    this.#store = store;
    this.#plugins = plugins;
    this.#backends = backends;
    this.#clock = clock;
  }

  /**
   * Audits everything that this process is to serve. A backend that is out of service, or cannot be listed in time, is told
   * and does not hide the others; nor does a transport. `signal` ends it early.
   */
  async run(context: RequestContext, signal: AbortSignal = new AbortController().signal): Promise<AuditReport> {
    requireAdmin(context, 'audit the backends');
    const backends = this.#backends.conditions().map(({ id, name, fault }) =>
      this.#attempt({ backend: name, unknown: null, missing: null }, `Listing backend ${name}`, signal, async (inner) => {
        if (fault) throw new ScoriaError(fault.code, fault.message, { remedy: fault.remedy });
        return this.backend(context, id ?? '', inner);
      }),
    );
    const nothing = { exports: null, stats: null, unknown: null, missing: null, incomplete: null };
    const transports = this.#plugins.transports.map(({ name }) =>
      this.#attempt({ transport: name, ...nothing }, `Listing transport ${name}`, signal, (inner) =>
        this.transport(context, name, inner),
      ),
    );
    const [ofBackends, ofTransports] = await Promise.all([Promise.all(backends), Promise.all(transports)]);
    return { backends: ofBackends, transports: ofTransports };
  }

  async #attempt<Audit extends object, Nothing extends object>(
    nothing: Nothing,
    what: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<Audit>,
  ): Promise<(Audit & { readonly failure: null }) | (Nothing & { readonly failure: AuditFailure })> {
    try {
      return { ...(await withDeadline(this.#clock, patience, what, work, signal)), failure: null };
    } catch (error) {
      signal.throwIfAborted();
      const { code, message, remedy } = ScoriaError.from(error);
      return { ...nothing, failure: { code, message, remedy } };
    }
  }

  /** Audits one backend. Throws when it could not be listed whole, `deadline-exceeded` when that took too long. */
  async backend(context: RequestContext, id: string, signal: AbortSignal): Promise<BackendAudit> {
    requireAdmin(context, 'audit the backends');
    const { name, driver } = this.#backends.get(id);
    const objects = new Map<string, ListedObject>();
    const list = async (inner: AbortSignal) => {
      const listing = driver.list({ signal: inner, fence: 0, progress: () => {} });
      for await (const object of untilAborted(listing, inner)) objects.set(object.placementId, object);
    };
    await withDeadline(this.#clock, longestListing, `Listing backend ${name}`, list, signal);
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
    if (!transport) return { transport: name, exports: [], stats: [], unknown: [], missing: [], incomplete: [] };
    const [exports, stats] = [await transport.list(call), await transport.stats(call)];
    const accesses = await this.#store.reading.accesses.all();
    const known = new Set(accesses.map((access) => access.id));
    const published = new Map(exports.map((each) => [each.accessId, each]));
    const missing: string[] = [];
    const incomplete: string[] = [];
    for (const access of accesses) {
      const found = published.get(access.id);
      if (access.state !== 'open' || found?.complete) continue;
      const placement = await orMissing(this.#store.reading.placements.get(access.placementId));
      // Ended since the accesses were read.
      if (!placement) continue;
      const { backendId } = placement;
      if (this.#backends.servedIds().includes(backendId) && this.#backends.get(backendId).transport === transport)
        (found ? incomplete : missing).push(access.id);
    }
    const unknown = [...published.keys()].filter((id) => !known.has(id));
    return { transport: name, exports, stats, unknown, missing, incomplete };
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
