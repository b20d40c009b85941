import type { Attachments } from '../attachment/attachments.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Outbox } from '../event/outbox.ts';
import type { Operations } from '../operation/operations.ts';
import type { Audits } from '../placement/audits.ts';
import type { Backends } from '../placement/backends.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Random } from '../platform/random.ts';
import { ObjectLocks } from '../plugin/object-locks.ts';
import type { Plugins } from '../plugin/plugins.ts';
import type { Settings, WorkerSettings } from '../plugin/settings.ts';
import { wired } from '../plugin/token.ts';
import * as tokens from '../plugin/tokens.ts';
import type { Store } from '../store/store.ts';
import type { RequestContext } from '../tenancy/request-context.ts';
import { requireAdmin } from '../tenancy/require-admin.ts';
import { observeBackend } from './backend-pass.ts';
import { observeCatalogue } from './catalogue-pass.ts';
import { observeExports } from './export-pass.ts';
import type { Finding, FindingFilter, PassResult, ReconciliationRun } from './finding.ts';
import { isDue, judge, isTold, type Verdict } from './judgement.ts';
import type { PassTools, PassView } from './observation.ts';
import { ReconciliationLease } from './reconciliation-lease.ts';

/** What a run has seen. */
export interface ReconciliationReport {
  readonly run: ReconciliationRun;
  /** Everything that is different now, also what is watched; and what ended with this run. */
  readonly findings: readonly Finding[];
}

interface Pass {
  readonly name: string;
  observe(tools: PassTools, signal: AbortSignal): Promise<PassView>;
}

interface RunOptions {
  /** Writes nothing and mends nothing. */
  readonly dryRun: boolean;
  /** Waits for passes that are under way, to look at their scopes again; else leaves those out. */
  readonly patient: boolean;
}

interface PassOutcome {
  readonly result: PassResult;
  readonly found: readonly Finding[];
}

const leftOut = (scope: string, reason: string): PassOutcome => ({ result: { scope, result: 'left', reason }, found: [] });

/** Most time for one backend, transport, or the store, ms. */
const passDeadline = 600_000;
const findingsKept = 30 * 24 * 3_600_000;
const mostFindings = 1_000;
const nobody: PassTools['holdLease'] = async () => {};

/**
 * Compares backends, exports and sessions with the store, both ways, at start and on a schedule. It mends what is safe,
 * by durable operations where something happens outside of the store, and keeps the rest as findings, with evidence.
 * Each pass has a part of the installation for itself, its scope, and runs under a lease, so of several processes one is
 * at it. Passes of different scopes go side by side, so a backend that is slow or hangs keeps no other one waiting.
 */
@wired(
  tokens.Store,
  tokens.Outbox,
  tokens.Operations,
  tokens.Attachments,
  tokens.Backends,
  tokens.Audits,
  tokens.Plugins,
  tokens.Clock,
  tokens.Random,
  tokens.Log,
  tokens.Settings,
  tokens.WorkerSettings,
)
export class Reconciler {
  readonly #store: Store;
  readonly #outbox: Outbox;
  readonly #operations: Operations;
  readonly #attachments: Attachments;
  readonly #backends: Backends;
  readonly #audits: Audits;
  readonly #plugins: Plugins;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #log: Log;
  readonly #settings: Settings;
  readonly #serving: boolean;
  readonly #stopping = new AbortController();
  /** Passes of one scope go one after the other. */
  readonly #turns = new ObjectLocks();
  readonly #underWay = new Set<Promise<unknown>>();
  /** How it stands with each scope, as far as runs that write something have told. */
  readonly #results = new Map<string, PassResult>();
  /** When the newest of these runs began. */
  #startedAt = 0;
  #timer: Disposable | null = null;

  constructor(
    store: Store,
    outbox: Outbox,
    operations: Operations,
    attachments: Attachments,
    backends: Backends,
    audits: Audits,
    plugins: Plugins,
    clock: Clock,
    random: Random,
    log: Log,
    settings: Settings,
    worker: WorkerSettings,
  ) {
    this.#store = store;
    this.#outbox = outbox;
    this.#operations = operations;
    this.#attachments = attachments;
    this.#backends = backends;
    this.#audits = audits;
    this.#plugins = plugins;
    this.#clock = clock;
    this.#random = random;
    this.#log = log;
    this.#settings = settings;
    this.#serving = worker.roles.includes('volume');
  }

  /** Sets the first run for a moment later: a start does not wait for it. */
  async start(): Promise<void> {
    const { interval, firstRun } = this.#settings.reconciliation;
    if (this.#serving && interval !== null) this.#schedule(firstRun, interval);
  }

  async stop(): Promise<void> {
    this.#timer?.[Symbol.dispose]();
    this.#stopping.abort(new ScoriaError('backend-unavailable', 'The service is stopping.'));
    await Promise.allSettled(this.#underWay);
  }

  /** Runs now; a scope with a pass under way is looked at again when that has ended. `dryRun` writes nothing and mends nothing. For administrators. */
  async run(context: RequestContext, options: { readonly dryRun?: boolean } = {}): Promise<ReconciliationReport> {
    requireAdmin(context, 'reconcile');
    return this.#begin({ dryRun: options.dryRun ?? false, patient: true });
  }

  /** Findings, newest first, at most 1,000; unless asked otherwise those that are open or marked. For administrators. */
  async findings(context: RequestContext, filter: FindingFilter = {}): Promise<readonly Finding[]> {
    requireAdmin(context, 'see findings');
    return this.#store.reading.reconciliation.list(filter, mostFindings);
  }

  /** The last run, of whatever process; `null` before the first. For administrators. */
  async lastRun(context: RequestContext): Promise<ReconciliationRun | null> {
    requireAdmin(context, 'see the reconciliation');
    return (await this.#store.reading.reconciliation.lastRun()) ?? null;
  }

  #schedule(pause: number, interval: number): void {
    this.#timer = this.#clock.timer(pause, () => {
      this.#schedule(interval, interval);
      this.#begin({ dryRun: false, patient: false }).catch((error: unknown) => {
        if (!this.#stopping.signal.aborted) this.#log.error({ err: ScoriaError.from(error) }, 'a reconciliation failed');
      });
    });
  }

  #begin(options: RunOptions): Promise<ReconciliationReport> {
    const run = this.#run(options).finally(() => this.#underWay.delete(run));
    this.#underWay.add(run);
    return run;
  }

  async #run({ dryRun, patient }: RunOptions): Promise<ReconciliationReport> {
    const startedAt = this.#clock.now();
    if (!dryRun) this.#startedAt = startedAt;
    const outcomes = await Promise.all(this.#passes().map((pass) => this.#inTurn(pass, { dryRun, patient })));
    this.#stopping.signal.throwIfAborted();
    const passes = outcomes.map(({ result }) => result);
    const findings = outcomes.flatMap(({ found }) => found);
    const { reconciliation } = this.#store.reading;
    const run: ReconciliationRun = {
      host: this.#settings.host,
      startedAt,
      endedAt: this.#clock.now(),
      passes,
      findings: dryRun ? findings.filter(isTold).length : await reconciliation.count(['open', 'marked']),
      actions: findings.filter(({ actedAt }) => actedAt !== null && actedAt >= startedAt).length,
    };
    if (!dryRun) {
      await this.#store.transaction(async (repositories) => {
        await repositories.reconciliation.writeRun(this.#onRecord(run));
        await repositories.reconciliation.endUnseen(startedAt - findingsKept, run.endedAt);
        await repositories.reconciliation.removeEndedBefore(startedAt - findingsKept);
        await repositories.placements.forgetRemoved(startedAt, startedAt - findingsKept);
      });
    }
    return { run, findings };
  }

  async #inTurn(pass: Pass, { dryRun, patient }: RunOptions): Promise<PassOutcome> {
    const scope = pass.name;
    const outcome =
      !patient && this.#turns.isTaken(scope)
        ? leftOut(scope, 'The pass before is still under way.')
        : await this.#turns.run([scope], () => this.#pass(pass, dryRun));
    if (!dryRun) this.#results.set(scope, outcome.result);
    return outcome;
  }

  /** A run as the last one of this process. When a later one has begun meanwhile, it may have told more of other scopes. */
  #onRecord(run: ReconciliationRun): ReconciliationRun {
    const passes = this.#passes().flatMap(({ name }) => this.#results.get(name) ?? []);
    return { ...run, startedAt: this.#startedAt, passes };
  }

  #passes(): Pass[] {
    return [
      ...this.#backends.servedIds().map((id) => ({
        name: `backend/${id}`,
        observe: (tools: PassTools, signal: AbortSignal) => observeBackend(tools, id, signal),
      })),
      ...(this.#serving ? this.#plugins.transports : []).map((transport) => {
        const name = this.#scopeOf(transport);
        return {
          name,
          observe: (tools: PassTools, signal: AbortSignal) => observeExports(tools, transport, name, signal),
        };
      }),
      { name: 'catalogue', observe: observeCatalogue },
    ];
  }

  /** Another process of this host may have a transport of this name, for other backends. */
  #scopeOf({ name, transport }: Plugins['transports'][number]): string {
    const backends = this.#plugins.backends.filter((backend) => backend.transport === transport).map((backend) => backend.name);
    return `transport/${this.#settings.host}/${name}/${backends.toSorted().join('+')}`;
  }

  /** Never rejects. */
  async #pass(pass: Pass, dryRun: boolean): Promise<PassOutcome> {
    const scope = pass.name;
    const lease = new ReconciliationLease(this.#outbox, this.#clock, this.#random, scope);
    try {
      this.#stopping.signal.throwIfAborted();
      const work = async (signal: AbortSignal) => {
        const tools = this.#tools(dryRun ? nobody : (transaction) => lease.hold(transaction));
        const view = await pass.observe(tools, signal);
        // What was broken off may look whole, with fewer differences.
        signal.throwIfAborted();
        const found: Finding[] = [];
        for (const each of view.views) {
          const known = await this.#store.reading.reconciliation.live(each.scope);
          const verdicts = judge(each, known, this.#clock.now(), () => this.#random.uuid());
          found.push(...(dryRun ? verdicts.map(({ finding }) => finding) : await this.#carryOut(verdicts, tools, signal)));
        }
        return { view, found };
      };
      const done = dryRun
        ? await lease.within(passDeadline, work, this.#stopping.signal)
        : await lease.run(passDeadline, work, this.#stopping.signal);
      if (!done) return leftOut(scope, 'Another instance is at it.');
      const { failure } = done.view;
      return { result: { scope, result: failure === null ? 'done' : 'failed', reason: failure }, found: done.found };
    } catch (error) {
      const fault = ScoriaError.from(error);
      if (!this.#stopping.signal.aborted) {
        this.#log.warn({ err: fault, scope }, 'a part of the reconciliation failed; it is tried again');
      }
      return { result: { scope, result: 'failed', reason: fault.message }, found: [] };
    }
  }

  #tools(holdLease: PassTools['holdLease']): PassTools {
    return {
      store: this.#store,
      outbox: this.#outbox,
      operations: this.#operations,
      attachments: this.#attachments,
      backends: this.#backends,
      audits: this.#audits,
      clock: this.#clock,
      settings: this.#settings.reconciliation,
      context: {
        requestId: `req-${this.#random.uuid()}`,
        userId: 'reconciler',
        projectId: '',
        roles: ['admin'],
        isAdmin: true,
      },
      holdLease,
    };
  }

  /** Writes down what was seen, then does what is due. */
  async #carryOut(verdicts: readonly Verdict[], tools: PassTools, signal: AbortSignal): Promise<Finding[]> {
    await this.#outbox.transaction(async (transaction) => {
      await tools.holdLease(transaction);
      for (const { finding } of verdicts) await transaction.reconciliation.write(finding);
    });
    const findings: Finding[] = [];
    for (const verdict of verdicts) {
      signal.throwIfAborted();
      findings.push(isDue(verdict, this.#clock.now()) ? await this.#mend(verdict, tools, signal) : verdict.finding);
    }
    return findings;
  }

  async #mend({ finding, mend }: Verdict, tools: PassTools, signal: AbortSignal): Promise<Finding> {
    if (!mend) return finding;
    const { kind, subjectId } = finding;
    let next: Finding;
    try {
      const outcome = await mend.begin(finding);
      if (outcome === 'not-yet') return finding;
      const now = this.#clock.now();
      if (outcome === 'gone') {
        next = { ...finding, state: finding.actions > 0 ? 'mended' : 'gone', endedAt: now };
      } else {
        next = { ...finding, actions: finding.actions + 1, actedAt: now, operationId: outcome.operationId };
        this.#log.info(
          { finding: finding.id, kind, subjectId, operationId: outcome.operationId },
          'a difference is being mended',
        );
      }
    } catch (error) {
      const fault = ScoriaError.from(error);
      if (signal.aborted || fault.code === 'lease-lost') throw error;
      // Somebody uses it: that is for the next pass.
      if (fault.code === 'invalid-state') return finding;
      this.#log.warn({ err: fault, finding: finding.id, kind, subjectId }, 'a difference could not be mended; it is tried again');
      next = { ...finding, actions: finding.actions + 1, actedAt: this.#clock.now() };
    }
    await this.#outbox.transaction(async (transaction) => {
      await tools.holdLease(transaction);
      await transaction.reconciliation.write(next);
    });
    return next;
  }
}
