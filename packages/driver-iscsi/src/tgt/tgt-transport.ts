import {
  ObjectLocks,
  ScoriaError,
  type Clock,
  type ConnectionInfo,
  type Exec,
  type ExportRequest,
  type ExportStats,
  type ExportStatus,
  type LimitSupport,
  type Log,
  type PluginCall,
  type Transport,
} from '@scoria/core';
import { blockNodeNumber } from '../block-node.ts';
import { iscsiConnectionInfo } from '../connection-info.ts';
import { checkedInitiatorName } from '../initiator-name.ts';
import { advertisedPortals, listenAddresses } from '../portal-configuration.ts';
import { formatAddress } from '../protocol/listen-address.ts';
import type { TgtConfiguration } from './configuration.ts';
import { DeviceLimits } from './device-limits.ts';
import { TgtTargets, userOf, volumeLun, type PublishedTarget, type PublishedUnit } from './targets.ts';
import { Tgtadm } from './tgtadm.ts';

/** What a {@link TgtTransport} needs. */
export interface TgtTransportOptions {
  readonly config: TgtConfiguration;
  readonly clock: Clock;
  readonly log: Log;
  /** Runs tgtadm. */
  readonly exec: Exec;
}

/** Accesses ended at the same time at the stop; tgtd itself does one thing at a time. */
const together = 4;
/** tgtadm puts values into lists with commas. */
const listable = /^[^,\s\0]+$/;

/**
 * tgt, the target daemon in user space, as a transport; it runs already, and is driven by tgtadm. tgtd is the only one to
 * remember exports. Each access is a target with LUN 1 and an account of its name. To tgt the accesses of one volume are
 * different logical units: they share the bytes, but no reservations.
 */
export class TgtTransport implements Transport {
  readonly reaches = ['path'];
  /** Only where a control group is configured; elsewhere core refuses limits. */
  readonly limit?: LimitSupport['limit'];
  readonly #config: TgtConfiguration;
  readonly #log: Log;
  readonly #tgtadm: Tgtadm;
  readonly #targets: TgtTargets;
  readonly #limits: DeviceLimits | null = null;
  /** One caller at a time per access, and inside of that one who looks after the portals. */
  readonly #locks = new ObjectLocks();
  /** What this object has published, by access: tgtd's own reports can be feigned. */
  readonly #units = new Map<string, PublishedUnit>();
  /** Portals that this object has added to those of tgtd. */
  readonly #added = new Set<string>();
  readonly #isKnown = (accessId: string): boolean => this.#units.has(accessId);
  #started = false;

  constructor({ config, clock, log, exec }: TgtTransportOptions) {
    this.#config = config;
    this.#log = log;
    this.#tgtadm = new Tgtadm(exec, config.controlSocket);
    this.#targets = new TgtTargets(this.#tgtadm, clock, config.iqnPrefix);
    if (config.cgroup === undefined) return;
    const limits = new DeviceLimits(config.cgroup);
    this.#limits = limits;
    this.limit = async (volumeId, wanted, { signal }) => {
      signal.throwIfAborted();
      const [accessId, unit] = [...this.#units].find(([, candidate]) => candidate.volumeId === volumeId) ?? [];
      if (accessId && unit) await limits.hold(accessId, await limits.checked(volumeId, unit, wanted));
    };
  }

  async start({ signal }: PluginCall): Promise<void> {
    signal.throwIfAborted();
    if (this.#started) return;
    await this.#listen(signal);
    // What tells no volume is not listed, so nobody would end it. It has no device that could hold this up.
    for (const { accessId, unit } of await this.#targets.all(this.#isKnown, signal)) {
      if (unit !== null) continue;
      await this.#end(accessId, signal).catch((failure: unknown) => {
        signal.throwIfAborted();
        this.#log.warn({ err: failure, accessId }, 'a target that was left half-made could not be removed');
      });
    }
    this.#started = true;
  }

  async stop(): Promise<void> {
    if (!this.#started) return;
    const { signal } = new AbortController();
    const waiting = [...(await this.#targets.all(this.#isKnown, signal))];
    const worker = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await this.#end(next.accessId, signal);
    };
    await Promise.all(Array.from({ length: together }, worker));
    for (const portal of this.#added) await this.#tgtadm.removePortal(portal);
    this.#added.clear();
    this.#started = false;
  }

  async export(request: ExportRequest, { signal }: PluginCall): Promise<void> {
    const { accessId, volumeId, device, readOnly, secret, initiator, limits } = request;
    const bound = this.#config.bindInitiator && initiator !== undefined ? checkedInitiatorName(initiator) : undefined;
    if (!listable.test(secret)) {
      throw new ScoriaError('not-supported', `tgt takes no secret with commas or blanks, and access ${accessId} has such a one`);
    }
    if (!device.path.startsWith('/') || !listable.test(device.path)) {
      throw new ScoriaError(
        'not-supported',
        `tgt cannot open ${device.path}: it wants an absolute path without commas and blanks`,
      );
    }
    // Only what goes past the page cache is counted to tgtd's control group, and only block devices are limited.
    const direct = (await blockNodeNumber(device.path)) !== null;
    const unit: PublishedUnit = { path: device.path, blockSize: device.blockSize, direct, volumeId, readOnly };
    // What an earlier volume was held to on this device must not hold this one.
    const rates = (await this.#limits?.checked(volumeId, device, limits ?? null)) ?? null;
    const admitted = { ...request, initiator: bound };
    await this.#locks.run([accessId], async () => {
      signal.throwIfAborted();
      const tid = await this.#claim(admitted, unit, signal);
      if (tid === null) {
        this.#units.set(accessId, unit);
        await this.#limits?.hold(accessId, rates);
        return;
      }
      try {
        await this.#listen(signal);
        await this.#limits?.hold(accessId, rates);
        await this.#targets.addUnit(tid, unit);
        signal.throwIfAborted();
        await this.#targets.admit(tid, admitted);
        this.#units.set(accessId, unit);
      } catch (error) {
        const { signal: own } = new AbortController();
        await this.#endInTurn(accessId, own).catch((failure: unknown) => {
          this.#log.warn({ err: failure, accessId }, 'an export that failed could not be removed');
        });
        throw error;
      }
    });
  }

  async unexport(accessId: string, { signal }: PluginCall): Promise<void> {
    signal.throwIfAborted();
    await this.#end(accessId, signal);
  }

  async list({ signal }: PluginCall): Promise<readonly ExportStatus[]> {
    signal.throwIfAborted();
    return (await this.#published(signal)).map(({ accessId, unit: { volumeId, readOnly }, complete, sessions }) => {
      return { accessId, volumeId, readOnly, complete, sessions };
    });
  }

  /**
   * tgt looks at the size of a device only when it opens it. So sessions are ended and the device is opened again;
   * initiators log in again by themselves, and repeat what was under way.
   */
  async resize(volumeId: string, { signal }: PluginCall): Promise<void> {
    signal.throwIfAborted();
    for (const [accessId, { volumeId: other }] of this.#units) {
      if (other !== volumeId) continue;
      await this.#locks.run([accessId], async () => {
        const unit = this.#units.get(accessId);
        if (unit !== undefined) await this.#targets.openAgain(accessId, unit, signal);
      });
    }
  }

  connectionInfo(request: ExportRequest): ConnectionInfo {
    const { iqnPrefix } = this.#config;
    return iscsiConnectionInfo(
      { iqnPrefix, portals: advertisedPortals(this.#config), lun: volumeLun, chap: true, user: userOf(request) },
      request,
    );
  }

  /** What the sessions did that are logged in: tgt forgets a session when it ends. */
  async stats({ signal }: PluginCall): Promise<readonly ExportStats[]> {
    signal.throwIfAborted();
    const targets = await this.#published(signal);
    const counters = (await this.#tgtadm.counters(signal)).filter(({ lun }) => lun === volumeLun);
    const volumes = Map.groupBy(targets, ({ unit }) => unit.volumeId);
    return Array.from(volumes, ([volumeId, accesses]) => {
      const tids = new Set(accesses.map(({ tid }) => tid));
      const own = counters.filter(({ tid }) => tids.has(tid));
      const sum = (of: (counter: (typeof own)[number]) => number): number => own.reduce((total, next) => total + of(next), 0);
      return {
        volumeId,
        readBytes: sum(({ readBytes }) => readBytes),
        writtenBytes: sum(({ writtenBytes }) => writtenBytes),
        reads: sum(({ reads }) => reads),
        writes: sum(({ writes }) => writes),
      };
    });
  }

  /** All accesses with a unit: as they were published by this object, or as tgtd tells of those that it adopted. */
  async #published(signal: AbortSignal): Promise<readonly (PublishedTarget & { readonly unit: PublishedUnit })[]> {
    const targets = Map.groupBy(await this.#targets.all(this.#isKnown, signal), ({ accessId }) => accessId);
    return Array.from(targets, ([accessId, told]) => {
      // A host of another access can feign one that is half-made, but cannot hide the real one.
      const target = told.findLast(({ complete }) => complete) ?? told.at(-1);
      const unit = (target?.state === 'ready' && this.#units.get(accessId)) || target?.unit;
      return target && unit ? [{ ...target, unit }] : [];
    }).flat();
  }

  /** A new target for the access; `null` when it is published as it should be. */
  async #claim(request: ExportRequest, unit: PublishedUnit, signal: AbortSignal): Promise<number | null> {
    const { accessId } = request;
    const claimed = await this.#targets.claim(accessId, signal);
    if (typeof claimed === 'number') return claimed;
    if (claimed.every((found) => this.#targets.serves(found, unit, request))) return null;
    await this.#endInTurn(accessId, signal);
    const again = await this.#targets.claim(accessId, signal);
    if (typeof again === 'number') return again;
    throw new ScoriaError('transport-failed', `Somebody else makes the target of access ${accessId} in tgtd`);
  }

  /** Adds the portals that tgtd lacks. One that was started again has only those of its own. */
  #listen(signal: AbortSignal): Promise<void> {
    return this.#locks.run(['portals'], async () => {
      const listening = await this.#tgtadm.portals(signal);
      for (const address of listenAddresses(this.#config)) {
        const portal = formatAddress(address);
        const any = formatAddress({ ...address, host: address.host.includes(':') ? '::' : '0.0.0.0' });
        if (listening.includes(portal) || listening.includes(any)) continue;
        await this.#tgtadm.addPortal(portal);
        this.#added.add(portal);
      }
    });
  }

  #end(accessId: string, signal: AbortSignal): Promise<void> {
    return this.#locks.run([accessId], () => this.#endInTurn(accessId, signal));
  }

  async #endInTurn(accessId: string, signal: AbortSignal): Promise<void> {
    await this.#targets.end(accessId, signal);
    this.#units.delete(accessId);
    // The access has ended, whatever becomes of this: what is held to its device next is told anew.
    await this.#limits?.release(accessId).catch((failure: unknown) => {
      this.#log.warn({ err: failure, accessId }, 'the limits of a device could not be lifted');
    });
  }
}
