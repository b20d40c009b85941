import {
  ObjectLocks,
  ScoriaError,
  type Clock,
  type DeviceLocator,
  type DeviceOpeners,
  type Log,
  type Random,
} from '@scoria/core/device';
import { parseRequest, type TargetVerb, type VerbReply, type VerbRequest } from '../control/messages.ts';
import type { ChapSecret } from '../protocol/chap.ts';
import type { ListenAddress } from '../protocol/listen-address.ts';
import { Portal } from '../protocol/portal.ts';
import { TargetRegistry, type Target } from '../protocol/target-registry.ts';
import { ReservationStore } from '../scsi/reservation-store.ts';
import { Reservations } from '../scsi/reservations.ts';
import type { Mirror } from '../volume/mirror.ts';
import { ExportedVolume, openDevice } from './exported-volume.ts';
import { targetName } from './target-name.ts';

/** What a {@link TargetService} needs. */
export interface TargetServiceOptions {
  readonly listen: readonly ListenAddress[];
  readonly iqnPrefix: string;
  readonly advertise?: string | undefined;
  /** See `LoginPolicy`. */
  readonly authentication: 'chap' | 'initiator-name';
  readonly mutualChap?: ChapSecret | undefined;
  /** Where reservations are kept that outlive this object; without it none do. */
  readonly stateDirectory?: string | undefined;
  readonly openers: DeviceOpeners;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What accompanies a verb that may take long. */
export interface VerbCall {
  readonly signal: AbortSignal;
  progress(done: number, total: number): void;
}

/** Reason of an abort when whoever called is gone, and has not changed its mind: what can be joined goes on. */
export class CallerGone extends ScoriaError {
  constructor() {
    super('transport-failed', 'The controller of the iSCSI target went away');
  }
}

type Handlers = { readonly [V in TargetVerb]: (request: VerbRequest<V>, call: VerbCall) => Promise<VerbReply<V>> };

/** Every wait for a client's data path has an end, ms. */
const unexportDeadline = 60_000;

/**
 * The iSCSI target with all verbs of a transport on plain messages. It runs in the control plane's process or in one of
 * its own. Verbs may be repeated and may come at the same time; those about one volume take turns.
 */
export class TargetService {
  readonly #options: TargetServiceOptions;
  readonly #registry = new TargetRegistry();
  readonly #portal: Portal;
  #store: ReservationStore | null = null;
  readonly #volumes = new Map<string, ExportedVolume>();
  readonly #holds = new Map<string, ExportedVolume>();
  /** Accesses that nobody can log in to any more, and whose sessions have not ended yet. */
  readonly #ending = new Map<string, Target>();
  readonly #turns = new ObjectLocks();

  readonly #handlers: Handlers = {
    export: (request) => this.export(request),
    unexport: (request) => this.unexport(request),
    list: () => this.list(),
    resize: (request) => this.resize(request),
    limit: (request) => this.limit(request),
    hold: (request) => this.hold(request),
    release: (request) => this.release(request),
    copy: (request, call) => this.copy(request, call),
    mirror: (request, call) => this.mirror(request, call),
    commitMirror: (request) => this.commitMirror(request),
    endMirror: (request) => this.endMirror(request),
    redirect: (request) => this.redirect(request),
    stats: () => this.stats(),
  };

  constructor(options: TargetServiceOptions) {
    this.#options = options;
    this.#portal = new Portal({
      registry: this.#registry,
      listen: options.listen,
      advertise: options.advertise,
      authentication: options.authentication,
      mutualChap: options.mutualChap,
      clock: options.clock,
      random: options.random,
      log: options.log,
    });
  }

  /** Rejects with `address-in-use`, and with `backend-failed` when the state directory cannot be read. */
  async start(): Promise<void> {
    const { stateDirectory } = this.#options;
    if (stateDirectory !== undefined) this.#store = await ReservationStore.open(stateDirectory, this.#options.log);
    await this.#portal.start();
  }

  /** Addresses really listened on. */
  get addresses(): readonly ListenAddress[] {
    return this.#portal.addresses;
  }

  /** Asks initiators to log out, ends all sessions, flushes and closes all devices. */
  async stop(): Promise<void> {
    await this.#portal.stop();
    for (const target of this.#registry.values()) this.#registry.remove(target);
    const volumes = [...this.#volumes.values()];
    this.#volumes.clear();
    this.#holds.clear();
    for (const ended of await Promise.allSettled(volumes.map((volume) => volume.close()))) {
      if (ended.status === 'rejected') {
        this.#options.log.error({ error: ScoriaError.from(ended.reason).message }, 'a volume could not be flushed and closed');
      }
    }
  }

  /** Carries out a verb given as a plain message, which is checked. Rejects with `invalid-input` for a malformed one. */
  async call<V extends TargetVerb>(verb: V, body: unknown, call: VerbCall): Promise<VerbReply<V>> {
    const handler: (request: VerbRequest<V>, call: VerbCall) => Promise<VerbReply<V>> = this.#handlers[verb];
    return handler(parseRequest(verb, body), call);
  }

  async export(request: VerbRequest<'export'>): Promise<VerbReply<'export'>> {
    if (this.#options.authentication === 'initiator-name' && request.initiator === undefined) {
      throw new ScoriaError(
        'invalid-input',
        `Access ${request.accessId} names no initiator, and that is all that lets one in here`,
        { remedy: 'Attach with a connector that names its initiator, or configure the target with authentication: chap.' },
      );
    }
    return this.#inTurn(request.volumeId, async () => {
      const open = this.#registry.findAccess(request.accessId);
      if (open !== undefined && this.#sameExport(open, request)) {
        this.#volumes.get(request.volumeId)?.limit(request.limits ?? null);
        return null;
      }
      const known = open ?? this.#ending.get(request.accessId);
      if (known !== undefined) {
        if (known.logicalUnit.volumeId !== request.volumeId) {
          throw new ScoriaError('conflict', `Access ${request.accessId} is for volume ${known.logicalUnit.volumeId} already`);
        }
        await this.#end(known);
      }
      const volume = await this.#volume(request.volumeId, request.device, request.readOnly);
      volume.limit(request.limits ?? null);
      const name = targetName(this.#options.iqnPrefix, request.accessId);
      volume.unit.reservations.addTarget(name);
      this.#registry.add({
        name,
        accessId: request.accessId,
        secret: request.secret,
        readOnly: request.readOnly,
        initiator: request.initiator,
        logicalUnit: volume.unit,
        sessions: new Set(),
      });
      return null;
    });
  }

  async unexport({ accessId }: VerbRequest<'unexport'>): Promise<VerbReply<'unexport'>> {
    const find = (): Target | undefined => this.#registry.findAccess(accessId) ?? this.#ending.get(accessId);
    const name = targetName(this.#options.iqnPrefix, accessId);
    const open = find()?.logicalUnit.volumeId;
    // An access that is not published may have left registrations with a process before this one.
    for (const volumeId of new Set([...(open === undefined ? [] : [open]), ...(this.#store?.volumesOf(name) ?? [])])) {
      await this.#inTurn(volumeId, async () => {
        const target = find();
        if (target?.logicalUnit.volumeId === volumeId) await this.#end(target);
        await this.#forgetTarget(volumeId, name);
        await this.#closeIfUnused(volumeId);
      });
    }
    return null;
  }

  async list(): Promise<VerbReply<'list'>> {
    return [...this.#registry.values(), ...this.#ending.values()].map((target) => ({
      accessId: target.accessId,
      volumeId: target.logicalUnit.volumeId,
      readOnly: target.readOnly,
      complete: !this.#ending.has(target.accessId),
      sessions: Array.from(target.sessions, (session) => session.nexus.initiatorName),
    }));
  }

  async resize({ volumeId }: VerbRequest<'resize'>): Promise<VerbReply<'resize'>> {
    await this.#inTurn(volumeId, async () => this.#volumes.get(volumeId)?.resize());
    return null;
  }

  async limit({ volumeId, limits }: VerbRequest<'limit'>): Promise<VerbReply<'limit'>> {
    await this.#inTurn(volumeId, async () => this.#volumes.get(volumeId)?.limit(limits));
    return null;
  }

  async hold({ volumeId, ms }: VerbRequest<'hold'>): Promise<VerbReply<'hold'>> {
    const volume = this.#volumes.get(volumeId);
    if (volume === undefined) return null;
    const token = this.#options.random.uuid();
    // The token is known until it is released; that it ran out is told then.
    this.#holds.set(token, volume);
    try {
      await volume.hold(token, ms);
      return token;
    } catch (error) {
      this.#holds.delete(token);
      throw error;
    }
  }

  async release({ token }: VerbRequest<'release'>): Promise<VerbReply<'release'>> {
    const volume = this.#holds.get(token);
    if (volume === undefined) return { held: false };
    this.#holds.delete(token);
    const held = volume.release(token);
    await this.#inTurn(volume.unit.volumeId, () => this.#closeIfUnused(volume.unit.volumeId));
    return { held };
  }

  async copy(request: VerbRequest<'copy'>, call: VerbCall): Promise<VerbReply<'copy'>> {
    // A copy whose caller died may still be settling: nothing of it may land after the next one has begun.
    return this.#inTurn(`copy to ${request.target.path}`, () => this.#copy(request, call));
  }

  async #copy({ volumeId, source, target }: VerbRequest<'copy'>, call: VerbCall): Promise<VerbReply<'copy'>> {
    call.signal.throwIfAborted();
    const device = await openDevice(this.#options.openers, target, false);
    try {
      let copying: Promise<void> | undefined;
      await this.#inTurn(volumeId, async () => {
        const volume = await this.#volume(volumeId, source, true);
        // Begun within the turn, so that the volume cannot be closed before; it goes on after it.
        copying = volume.copy(device, call);
        copying.catch(() => {});
      });
      await copying;
    } finally {
      await device.close();
      await this.#inTurn(volumeId, () => this.#closeIfUnused(volumeId));
    }
    return null;
  }

  /** Settles when both devices are the same; then they are kept so. A repeat joins. An abort by the caller ends the mirror. */
  async mirror({ volumeId, source, target }: VerbRequest<'mirror'>, call: VerbCall): Promise<VerbReply<'mirror'>> {
    call.signal.throwIfAborted();
    const [volume, mirror] = await this.#inTurn(volumeId, async () => {
      try {
        // For writing, also where initiators only read: it may be opened by one that writes meanwhile.
        const opened = await this.#volume(volumeId, source, false);
        return [opened, await opened.startMirror(source, target)] as const;
      } catch (error) {
        await this.#closeIfUnused(volumeId);
        throw error;
      }
    });
    try {
      await mirror.follow(call);
    } catch (error) {
      if (!(call.signal.reason instanceof CallerGone)) {
        // The copying stops at once, the rest ends when it is the volume's turn.
        mirror.device.break(error);
        // That the target does not let go is told by endMirror.
        await this.#dropMirror(volume, mirror, error).catch(() => {});
      }
      throw error;
    }
    return null;
  }

  async commitMirror({ volumeId }: VerbRequest<'commitMirror'>): Promise<VerbReply<'commitMirror'>> {
    return this.#inTurn(volumeId, async () => {
      const volume = this.#volumes.get(volumeId);
      if (volume === undefined) throw new ScoriaError('transport-failed', `Volume ${volumeId} has no mirror to commit`);
      return volume.commitMirror();
    });
  }

  async endMirror({ volumeId, keep }: VerbRequest<'endMirror'>): Promise<VerbReply<'endMirror'>> {
    return this.#inTurn(volumeId, async () => {
      const ended = await this.#volumes.get(volumeId)?.endMirror(keep);
      await this.#closeIfUnused(volumeId);
      return ended ?? null;
    });
  }

  /** Sends logins to another address, and asks who is logged in to come again. */
  async redirect({ address }: VerbRequest<'redirect'>): Promise<VerbReply<'redirect'>> {
    this.#portal.redirect(address);
    return null;
  }

  async stats(): Promise<VerbReply<'stats'>> {
    return Array.from(this.#volumes.values(), ({ unit }) => ({ volumeId: unit.volumeId, ...unit.statistics }));
  }

  #sameExport(target: Target, request: VerbRequest<'export'>): boolean {
    const volume = this.#volumes.get(request.volumeId);
    return (
      target.logicalUnit.volumeId === request.volumeId &&
      target.secret === request.secret &&
      target.readOnly === request.readOnly &&
      target.initiator === request.initiator &&
      volume?.opens(request.device) === true
    );
  }

  /** The volume with its device open, made ready for another use. */
  async #volume(volumeId: string, device: DeviceLocator, readOnly: boolean): Promise<ExportedVolume> {
    const known = this.#volumes.get(volumeId);
    if (known !== undefined) {
      await known.admit(device, readOnly);
      return known;
    }
    const volume = await ExportedVolume.open(volumeId, device, readOnly, {
      openers: this.#options.openers,
      reservations: this.#store?.reservationsOf(volumeId) ?? new Reservations(undefined, null),
      clock: this.#options.clock,
      onTargetClosed: () => void this.#inTurn(volumeId, () => this.#closeIfUnused(volumeId)).catch(() => {}),
      onMirrorBroken: (broken, mirror, reason) => this.#mirrorBroke(broken, mirror, reason),
    });
    this.#volumes.set(volumeId, volume);
    return volume;
  }

  /** Ends what was registered through a target that never comes back. */
  async #forgetTarget(volumeId: string, name: string): Promise<void> {
    const unit = this.#volumes.get(volumeId)?.unit;
    if (unit === undefined) await this.#store?.removeTarget(volumeId, name);
    else await unit.removeTarget(name);
  }

  #mirrorBroke(volume: ExportedVolume, mirror: Mirror, reason: unknown): void {
    const { log } = this.#options;
    const { volumeId } = volume.unit;
    const { code, message } = ScoriaError.from(reason);
    log[code === 'cancelled' ? 'info' : 'warn'](
      { volumeId, code, error: message },
      'a mirror broke; the volume stays where it is',
    );
    this.#dropMirror(volume, mirror, reason).catch((error: unknown) => {
      log.error({ volumeId, error: ScoriaError.from(error).message }, 'the target of a broken mirror could not be closed');
    });
  }

  /** Ends a mirror that is not wanted any more, or is broken; does nothing when it has ended. */
  async #dropMirror(volume: ExportedVolume, mirror: Mirror, reason: unknown): Promise<void> {
    await this.#inTurn(volume.unit.volumeId, async () => {
      try {
        await volume.dropMirror(mirror, reason);
      } finally {
        await this.#closeIfUnused(volume.unit.volumeId);
      }
    });
  }

  /** Ends an access. After a failure nobody can log in, and the call may be repeated. */
  async #end(target: Target): Promise<void> {
    this.#registry.remove(target);
    this.#ending.set(target.accessId, target);
    const { promise: late, reject } = Promise.withResolvers<never>();
    using _timer = this.#options.clock.timer(unexportDeadline, () => {
      reject(new ScoriaError('deadline-exceeded', `Commands of access ${target.accessId} do not end; its device may hang`));
    });
    await Promise.race([Promise.all(Array.from(target.sessions, (session) => session.drop())), late]);
    this.#ending.delete(target.accessId);
  }

  /** Closes a volume's device when no access, copy, hold or mirror needs it. */
  async #closeIfUnused(volumeId: string): Promise<void> {
    const volume = this.#volumes.get(volumeId);
    if (volume === undefined || volume.busy) return;
    for (const target of [...this.#registry.values(), ...this.#ending.values()]) {
      if (target.logicalUnit === volume.unit) return;
    }
    this.#volumes.delete(volumeId);
    await volume.close();
  }

  /** Runs `work` after what was asked before about the same volume. */
  #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    return this.#turns.run([key], work);
  }
}
