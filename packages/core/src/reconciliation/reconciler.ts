import type { Attachments } from '../attachment/attachments.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Outbox } from '../event/outbox.ts';
import type { Operations } from '../operation/operations.ts';
import type { Audits } from '../placement/audits.ts';
import type { Backends } from '../placement/backends.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { Random } from '../platform/random.ts';
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

/** Most time for one backend, transport, or the store, ms. */
const passDeadline = 600_000;
const findingsKept = 30 * 24 * 3_600_000;
const mostFindings = 1_000;
const nobody: PassTools['holdLease'] = async () => {};

/**
 * Compares backends, exports and sessions with the store, both ways, at start and on a schedule. It mends what is safe,
 * by durable operations where something happens outside of the store, and keeps the rest as findings, with evidence.
 * Each pass runs under a lease, so of several processes one is at it.
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
  #timer: Disposable | null = null;
  /** Runs of this process go one after the other. */
  #last: Promise<unknown> = Promise.resolve();

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
    await this.#last;
  }

  /** Runs now, after a run that is under way. `dryRun` writes nothing and mends nothing. For administrators. */
  async run(context: RequestContext, options: { readonly dryRun?: boolean } = {}): Promise<ReconciliationReport> {
    requireAdmin(context, 'reconcile');
    return this.#afterOthers(options.dryRun ?? false);
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
      this.#afterOthers(false)
        .catch((error: unknown) => {
          if (!this.#stopping.signal.aborted) this.#log.error({ err: ScoriaError.from(error) }, 'a reconciliation failed');
        })
        .finally(() => {
          if (!this.#stopping.signal.aborted) this.#schedule(interval, interval);
        });
    });
  }

  #afterOthers(dryRun: boolean): Promise<ReconciliationReport> {
    const run = this.#last.then(() => this.#run(dryRun));
    this.#last = run.catch(() => {});
    return run;
  }

  async #run(dryRun: boolean): Promise<ReconciliationReport> {
    const startedAt = this.#clock.now();
    const passes: PassResult[] = [];
    const findings: Finding[] = [];
    for (const pass of this.#passes()) {
      this.#stopping.signal.throwIfAborted();
      const { result, found } = await this.#pass(pass, dryRun);
      passes.push(result);
      findings.push(...found);
    }
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
        await repositories.reconciliation.writeRun(run);
        await repositories.reconciliation.endUnseen(startedAt - findingsKept, run.endedAt);
        await repositories.reconciliation.removeEndedBefore(startedAt - findingsKept);
        await repositories.placements.forgetRemoved(startedAt, startedAt - findingsKept);
      });
    }
    return { run, findings };
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

  async #pass(pass: Pass, dryRun: boolean): Promise<{ readonly result: PassResult; readonly found: readonly Finding[] }> {
    const scope = pass.name;
    const lease = new ReconciliationLease(this.#outbox, this.#clock, this.#random, scope);
    try {
      const work = async (signal: AbortSignal) => {
        const tools = this.#tools(dryRun ? nobody : (transaction) => lease.hold(transaction));
        const view = await pass.observe(tools, signal);
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
      if (!done) return { result: { scope, result: 'left', reason: 'Another instance is at it.' }, found: [] };
      const { failure } = done.view;
      return { result: { scope, result: failure === null ? 'done' : 'failed', reason: failure }, found: done.found };
    } catch (error) {
      if (this.#stopping.signal.aborted) throw error;
      const fault = ScoriaError.from(error);
      this.#log.warn({ err: fault, scope }, 'a part of the reconciliation failed; it is tried again');
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
