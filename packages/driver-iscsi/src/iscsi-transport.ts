import { join } from 'node:path';
import {
  ScoriaError,
  type Clock,
  type ConnectionInfo,
  type DeviceLocator,
  type DeviceOpeners,
  type ExportRequest,
  type ExportStats,
  type ExportStatus,
  type IoLimits,
  type LimitSupport,
  type Log,
  type MirrorSupport,
  type PluginCall,
  type PointInTimeSupport,
  type Random,
  type Transport,
} from '@scoria/core';
import type { IscsiConfiguration } from './configuration.ts';
import { iscsiConnectionInfo } from './connection-info.ts';
import type { ControlCall } from './control/control-client.ts';
import type { MirrorEnds, TargetSettings, TargetVerb, VerbReply, VerbRequest } from './control/messages.ts';
import { ProcessTarget, type CallTarget } from './control/process-target.ts';
import { controlSocketPath } from './control/socket-path.ts';
import { readMutualChapSecret } from './mutual-chap-secret.ts';
import { advertisedPortals, listenAddresses } from './portal-configuration.ts';
import type { ListenAddress } from './protocol/listen-address.ts';
import { TargetService } from './target/target-service.ts';

/** What an {@link IscsiTransport} needs. */
export interface IscsiTransportOptions {
  /** Name of the transport in the configuration; part of the control socket's name. */
  readonly name: string;
  readonly config: IscsiConfiguration;
  readonly baseDirectory: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Openers of the devices that can be exported; only with `inProcess`. The target's own process opens kind `path`. */
  readonly openers: DeviceOpeners;
}

/** Exports put back at the same time after the target process died. */
const restoreConcurrency = 16;
/** Moves remembered for requests that were made before them. */
const rememberedMoves = 1000;

/** The embedded iSCSI target as a transport. The verbs' meaning is that of the contract; the work is the target's. */
export class IscsiTransport implements Transport, PointInTimeSupport, MirrorSupport, LimitSupport {
  readonly reaches: readonly string[];
  readonly #options: IscsiTransportOptions;
  readonly #config: IscsiConfiguration;
  readonly #log: Log;
  readonly #listen: readonly ListenAddress[];
  readonly #portals: readonly string[];
  #service: TargetService | null = null;
  #process: ProcessTarget | null = null;
  /** What the target must have, so that a new process can be given it. */
  readonly #exports = new Map<string, VerbRequest<'export'>>();
  /** Volumes whose mirror is committed, and not ended yet. */
  readonly #committed = new Map<string, MirrorEnds>();
  /**
   * Those of them that lost their mirror with the target process. Which device has all writes is for {@link endMirror} to
   * say; until then nobody may write to either, since the books may be about to name the other.
   */
  readonly #undecided = new Set<string>();
  /** Volumes that moved while they were exported, for requests that do not know it yet. */
  readonly #moved = new Map<string, MirrorEnds>();

  constructor(options: IscsiTransportOptions) {
    const { config, openers } = options;
    this.#options = options;
    this.#config = config;
    this.#log = options.log;
    this.#listen = listenAddresses(config);
    this.#portals = advertisedPortals(config);
    // The target's own process opens kind `path`.
    this.reaches = config.inProcess ? Object.keys(openers) : ['path'];
  }

  /** Addresses really listened on, where port 0 was asked for; known only with `inProcess`. */
  get addresses(): readonly ListenAddress[] {
    return this.#service?.addresses ?? [];
  }

  /** Process id of the target's own process, 0 while there is none. */
  get processId(): number {
    return this.#process?.processId ?? 0;
  }

  async start(call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    if (this.#service !== null || this.#process !== null) return;
    const settings = await this.#settings();
    const { name, baseDirectory, openers, clock, random, log } = this.#options;
    if (this.#config.inProcess) {
      const service = new TargetService({ ...settings, openers, clock, random, log });
      await service.start();
      this.#service = service;
    } else {
      const started = new ProcessTarget({
        socketPath: controlSocketPath(baseDirectory, name),
        settings,
        program: new URL(import.meta.url.endsWith('.ts') ? './target-process.ts' : './target-process.js', import.meta.url),
        clock,
        log,
        restore: (restoring) => this.#restore(restoring),
      });
      await started.start();
      this.#process = started;
    }
    await this.#call('redirect', this.#redirect, call);
  }

  async stop(): Promise<void> {
    for (const known of [this.#exports, this.#committed, this.#undecided, this.#moved]) known.clear();
    const target = this.#service ?? this.#process;
    this.#service = null;
    this.#process = null;
    await target?.stop();
  }

  /** Lets go of the target's own process, which goes on serving until it is adopted. For tests, and for a restart without a gap. */
  abandon(): void {
    this.#process?.abandon();
  }

  async export(request: ExportRequest, call: PluginCall): Promise<void> {
    await this.#call('export', () => this.#exportMessage(request), call);
    // Made anew: the volume may have moved during the call.
    this.#exports.set(request.accessId, this.#exportMessage(request));
    this.#noteLimits(request.volumeId, request.limits);
  }

  async unexport(accessId: string, call: PluginCall): Promise<void> {
    // First of all, so that a process that is started meanwhile does not get it back.
    const volumeId = this.#exports.get(accessId)?.volumeId;
    this.#exports.delete(accessId);
    if (volumeId !== undefined && !this.#exportsOf(volumeId).length) this.#moved.delete(volumeId);
    await this.#call('unexport', { accessId }, call);
  }

  list(call: PluginCall): Promise<readonly ExportStatus[]> {
    return this.#call('list', null, call);
  }

  async resize(volumeId: string, call: PluginCall): Promise<void> {
    await this.#call('resize', { volumeId }, call);
  }

  async limit(volumeId: string, limits: IoLimits | null, call: PluginCall): Promise<void> {
    await this.#call('limit', { volumeId, limits }, call);
    this.#noteLimits(volumeId, limits ?? undefined);
  }

  hold(volumeId: string, ms: number, call: PluginCall): Promise<string | null> {
    return this.#call('hold', { volumeId, ms }, call);
  }

  release(token: string, call: PluginCall): Promise<{ readonly held: boolean }> {
    return this.#call('release', { token }, call);
  }

  async copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void> {
    await this.#call('copy', { volumeId, source, target }, call);
  }

  async mirror(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void> {
    await this.#call('mirror', { volumeId, source, target }, call);
  }

  async commitMirror(volumeId: string, call: PluginCall): Promise<void> {
    this.#committed.set(volumeId, await this.#call('commitMirror', { volumeId }, call));
  }

  async endMirror(volumeId: string, keep: 'source' | 'target', call: PluginCall): Promise<void> {
    const ended = await this.#call('endMirror', { volumeId, keep }, call);
    const ends = ended ?? this.#committed.get(volumeId);
    if (keep === 'target' && ends !== undefined) this.#move(volumeId, ends);
    // A process that is started meanwhile gets the exports of this volume from here on.
    this.#committed.delete(volumeId);
    if (!this.#undecided.has(volumeId)) return;
    for (const request of this.#exportsOf(volumeId)) {
      await this.#publishAgain(request, (verb, body) => this.#call(verb, body, call));
    }
    this.#undecided.delete(volumeId);
  }

  stats(call: PluginCall): Promise<readonly ExportStats[]> {
    return this.#call('stats', null, call);
  }

  connectionInfo(request: ExportRequest): ConnectionInfo {
    const { iqnPrefix, authentication } = this.#config;
    return iscsiConnectionInfo({ iqnPrefix, portals: this.#portals, lun: 0, chap: authentication === 'chap' }, request);
  }

  get #redirect(): VerbRequest<'redirect'> {
    return { address: this.#config.redirect ?? null };
  }

  async #settings(): Promise<TargetSettings> {
    const { iqnPrefix, advertise, authentication, mutualChap, orphanTimeout } = this.#config;
    return {
      listen: [...this.#listen],
      iqnPrefix,
      ...(advertise !== undefined && { advertise }),
      authentication,
      ...(mutualChap !== undefined && {
        mutualChap: {
          name: mutualChap.username,
          secret: await readMutualChapSecret(this.#options.baseDirectory, mutualChap.secretFile),
        },
      }),
      stateDirectory: stateDirectory(this.#options.baseDirectory, this.#options.name),
      orphanTimeout,
    };
  }

  #exportsOf(volumeId: string): VerbRequest<'export'>[] {
    return [...this.#exports.values()].filter((request) => request.volumeId === volumeId);
  }

  /** Notes that a volume lies on another device now. */
  #move(volumeId: string, ends: MirrorEnds): void {
    const exported = this.#exportsOf(volumeId);
    for (const request of exported) this.#exports.set(request.accessId, { ...request, device: ends.target });
    this.#moved.set(volumeId, ends);
    // Requests made before the move are long over by then.
    if (this.#moved.size > rememberedMoves) for (const oldest of this.#moved.keys()) return void this.#moved.delete(oldest);
  }

  /** Notes what a volume is held to: by all of its exports, whichever is the last that a new process is given. */
  #noteLimits(volumeId: string, limits: IoLimits | undefined): void {
    for (const request of this.#exportsOf(volumeId)) this.#exports.set(request.accessId, { ...request, limits });
  }

  #exportMessage({ accessId, volumeId, device, readOnly, secret, initiator, limits }: ExportRequest): VerbRequest<'export'> {
    if (this.#undecided.has(volumeId)) {
      throw new ScoriaError(
        'transport-failed',
        `Volume ${volumeId} cannot be exported until its move has ended: the target process died during that`,
      );
    }
    const { bindInitiator, authentication } = this.#config;
    const bound = (bindInitiator || authentication === 'initiator-name') && initiator !== undefined;
    const moved = this.#moved.get(volumeId);
    const place = moved?.source.path === device.path && moved.source.kind === device.kind ? moved.target : device;
    return { accessId, volumeId, device: place, readOnly, secret, limits, ...(bound && { initiator }) };
  }

  async #restore(call: CallTarget): Promise<void> {
    for (const volumeId of this.#committed.keys()) this.#undecided.add(volumeId);
    await call('redirect', this.#redirect);
    const waiting = [...this.#exports.keys()];
    const worker = async (): Promise<void> => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
        const request = this.#exports.get(id);
        if (request === undefined || this.#undecided.has(request.volumeId)) continue;
        await this.#publishAgain(request, call);
      }
    };
    await Promise.all(Array.from({ length: restoreConcurrency }, worker));
  }

  async #publishAgain(request: VerbRequest<'export'>, call: CallTarget): Promise<void> {
    await call('export', request).catch((error: unknown) => {
      const { code, message } = ScoriaError.from(error);
      // The process is gone again: all of it is to be done anew. Else one volume must not keep the others away.
      if (code === 'transport-failed') throw error;
      this.#log.error({ accessId: request.accessId, code, error: message }, 'an access could not be published again');
    });
  }

  async #call<V extends TargetVerb>(
    verb: V,
    body: VerbRequest<V> | (() => VerbRequest<V>),
    { signal, progress }: PluginCall,
  ): Promise<VerbReply<V>> {
    signal.throwIfAborted();
    const call: ControlCall = { signal, progress };
    if (this.#process !== null) return this.#process.call(verb, body, call);
    if (this.#service !== null) return this.#service.call(verb, typeof body === 'function' ? body() : body, { signal, progress });
    throw new ScoriaError('transport-failed', 'The iSCSI target is not started');
  }
}

/** Where the target of a transport keeps what outlives its process. The same for every process of it. */
const stateDirectory = (baseDirectory: string, name: string): string =>
  join(baseDirectory, 'iscsi', name.replaceAll(/[^A-Za-z0-9._-]/g, '_'));
