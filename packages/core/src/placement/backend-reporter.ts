import { ScoriaError } from '../error/scoria-error.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { ConfiguredBackend } from '../plugin/plugins.ts';
import type { Settings } from '../plugin/settings.ts';
import type { Store } from '../store/store.ts';
import type { PluginCall, PoolReport } from '../volume/driver.ts';
import { type BackendFault, hostString, newestNamed, type ReportedPool } from './backend.ts';

/** What a process knows of a backend that it is to serve. */
export interface BackendCondition extends Pick<ConfiguredBackend, 'name' | 'availabilityZone' | 'driverCapabilities'> {
  /** UUID found on the storage; `null` until the backend has been in service here. */
  readonly id: string | null;
  /** Why it is not in service, or `null`. */
  readonly fault: BackendFault | null;
  /** Since when it is in service or out of it, ms. */
  readonly since: number;
  /** When it was last asked with an end, good or bad, ms; `null` before the first. */
  readonly reportedAt: number | null;
}

/** What a {@link BackendReporter} works with. */
export interface ReporterParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
  readonly settings: Settings;
  /** Arguments of its calls to the driver; their signal ends all that is under way. */
  readonly call: PluginCall;
  /** Puts the backend into service, under the id found on its storage. When it rejects, the backend stays out. */
  enter(id: string): Promise<void>;
  /** Takes it out of service. */
  leave(id: string): void;
}

/**
 * Brings one backend up, reports its pools to the store again and again, and tries again when it is out of order; at
 * its own pace, so a slow one keeps nobody else waiting.
 */
export class BackendReporter {
  readonly #backend: ConfiguredBackend;
  readonly #parts: ReporterParts;
  #id: string | null = null;
  #inService = false;
  #fault: BackendFault | null;
  #since: number;
  #reportedAt: number | null = null;
  /** As they were reported last; `null` before the first time. */
  #pools: readonly ReportedPool[] | null = null;
  #timer: Disposable | null = null;
  #reporting: Promise<void> = Promise.resolve();

  constructor(backend: ConfiguredBackend, parts: ReporterParts) {
    this.#backend = backend;
    this.#parts = parts;
    this.#since = parts.clock.now();
    const { code, message, remedy } = new ScoriaError(
      'backend-unavailable',
      `Backend ${backend.name} has not answered since the service started.`,
      { remedy: 'Find out what holds its storage up; it comes into service by itself.' },
    );
    this.#fault = { code, message, remedy, since: this.#since };
  }

  /** What is known of the backend now. */
  get condition(): BackendCondition {
    const { name, availabilityZone, driverCapabilities } = this.#backend;
    return {
      name,
      availabilityZone,
      driverCapabilities,
      id: this.#id,
      fault: this.#fault,
      since: this.#since,
      reportedAt: this.#reportedAt,
    };
  }

  /** Begins. Settles with the first report, whether it is good or bad; never rejects. */
  start(): Promise<void> {
    this.#reporting = this.#report();
    return this.#reporting;
  }

  /** Notes in the store why the backend is not in service, so that nothing is placed there. Never rejects. */
  async tellFault(): Promise<void> {
    const { log, store, settings } = this.#parts;
    const { name } = this.#backend;
    try {
      const rows = await store.reading.backends.list();
      const row = this.#id === null ? newestNamed(rows, settings.host, name) : rows.find(({ id }) => id === this.#id);
      // It may have come into service meanwhile.
      if (!row || this.#inService || this.#fault === null) return;
      // An outage outlasts a restart.
      if (this.#id === null) this.#since = row.fault?.since ?? this.#since;
      this.#fault = { ...this.#fault, since: this.#since };
      await this.#write(row.id, [], this.#fault);
    } catch (error) {
      log.error({ err: ScoriaError.from(error), backend: name }, 'a fault could not be noted');
    }
  }

  /** Ends it, once the calls' signal is aborted. Settles when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#timer?.[Symbol.dispose]();
    await this.#reporting;
  }

  async #report(): Promise<void> {
    const { clock, settings, call } = this.#parts;
    try {
      await this.#ask();
    } catch (error) {
      if (!call.signal.aborted) await this.#fail(ScoriaError.from(error, 'backend-unavailable'));
    }
    if (call.signal.aborted) return;
    this.#timer = clock.timer(settings.reportInterval, () => void this.start());
  }

  async #ask(): Promise<void> {
    const { log, call, enter } = this.#parts;
    const { name, driver } = this.#backend;
    const id = this.#inService && this.#id !== null ? this.#id : (await driver.check(call)).backendId;
    const reports = await driver.pools(call);
    if (!this.#inService) {
      await enter(id);
      this.#inService = true;
      this.#id = id;
    }
    try {
      await this.#note(id, reports);
    } catch (error) {
      // That is not the backend's fault, and what is served there can go on.
      log.error({ err: ScoriaError.from(error), backend: name }, 'a report could not be noted');
    }
  }

  /** Writes down that the backend is in service, with its pools. */
  async #note(id: string, reports: readonly PoolReport[]): Promise<void> {
    const { clock, log } = this.#parts;
    const { name } = this.#backend;
    const pools = await this.#dated(id, reports);
    await this.#write(id, pools, null);
    this.#tellPools(pools);
    this.#reportedAt = clock.now();
    if (this.#fault === null) return;
    this.#fault = null;
    this.#since = this.#reportedAt;
    log.info({ backend: name, backendId: id }, 'backend in service');
  }

  async #fail(error: ScoriaError): Promise<void> {
    const { clock, log, leave } = this.#parts;
    const { name } = this.#backend;
    const { code, message, remedy } = error;
    const told = this.#fault;
    this.#reportedAt = clock.now();
    if (told === null) this.#since = this.#reportedAt;
    if (this.#inService && this.#id !== null) leave(this.#id);
    this.#inService = false;
    this.#fault = { code, message, remedy, since: this.#since };
    if (told?.message === message) log.debug({ err: error, backend: name }, 'backend still out of service');
    else log.error({ err: error, backend: name }, 'backend out of service; it is tried again');
    await this.tellFault();
  }

  /** Adds to the faults of pools since when they last. */
  async #dated(id: string, reports: readonly PoolReport[]): Promise<readonly ReportedPool[]> {
    const { store, clock } = this.#parts;
    // An outage outlasts a restart.
    const before = this.#pools ?? (await store.reading.backends.list()).find((row) => row.id === id)?.pools ?? [];
    return reports.map((report) => {
      if (!report.fault) return { ...report, fault: undefined };
      const { code, message, remedy } = report.fault;
      const since = before.find(({ name }) => name === report.name)?.fault?.since ?? clock.now();
      return { ...report, fault: { code, message, remedy, since } };
    });
  }

  /** Tells the log of pools that have come into service, or out of it, or have another fault than before. */
  #tellPools(pools: readonly ReportedPool[]): void {
    const { log } = this.#parts;
    const { name: backend } = this.#backend;
    for (const { name: pool, fault } of pools) {
      const told = this.#pools?.find(({ name }) => name === pool)?.fault;
      if (fault && fault.message !== told?.message) log.error({ backend, pool, ...fault }, 'pool out of service');
      if (!fault && told) log.info({ backend, pool }, 'pool in service');
    }
    this.#pools = pools;
  }

  async #write(id: string, pools: readonly ReportedPool[], fault: BackendFault | null): Promise<void> {
    const { store, clock, settings } = this.#parts;
    const { name, availabilityZone, driverCapabilities } = this.#backend;
    const { host } = settings;
    const service = { binary: 'cinder-volume', host: hostString({ host, name }) };
    await store.transaction(async ({ backends, services }) => {
      const reportedAt = clock.now();
      const fresh = this.#fault !== null && !(await backends.list()).some((row) => row.id === id);
      await backends.report({ id, name, host, availabilityZone, driverCapabilities, pools, reportedAt, fault });
      if (fault !== null) return;
      await services.beat({ ...service, availabilityZone, seenAt: reportedAt });
      if (!fresh) return;
      // It may have been disabled before its storage was seen.
      const known = (await services.list()).find(({ binary, host: at }) => binary === service.binary && at === service.host);
      if (known?.enabled === false) await backends.setEnabled(id, false, known.disabledReason);
    });
  }
}
