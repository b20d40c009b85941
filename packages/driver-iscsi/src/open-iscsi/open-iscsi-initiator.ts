import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import {
  ObjectLocks,
  openPathDevice,
  ScoriaError,
  type Clock,
  type ConnectedDevice,
  type ConnectionInfo,
  type Connector,
  type Exec,
  type Initiator,
  type Log,
  type OpenOptions,
  type PluginCall,
} from '@scoria/core';
import { isIscsiName } from '../initiator-name.ts';
import { parseConnectionInfo, type IscsiConnectionInfo } from '../initiator/connection-info.ts';
import type { DiscoveredTarget } from '../initiator/discovery.ts';
import type { UnitPath } from '../initiator/recovering-session.ts';
import { formatAddress, type ListenAddress } from '../protocol/listen-address.ts';
import { MultipathMaps } from './multipath-map.ts';
import { NodeRecords } from './node-records.ts';
import { OpenIscsiDevice } from './open-iscsi-device.ts';
import { sendTargets } from './send-targets.ts';
import { ScsiDisks, type KernelSession, type ScsiDisk } from './scsi-disks.ts';

/** What an {@link OpenIscsiInitiator} needs. */
export interface OpenIscsiInitiatorOptions {
  readonly exec: Exec;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether to use all portals of a volume at once, by dm-multipath. Default: one at a time. */
  readonly multipath?: boolean;
  /** Where open-iscsi keeps its configuration. Default: `/etc/iscsi`. */
  readonly directory?: string;
}

/** Waits, ms. */
const diskDeadline = 30_000;
const endDeadline = 30_000;
const pollInterval = 50;
/** The kernel scans by itself after a login; it is asked again when that found nothing. */
const scanInterval = 1_000;
const reinstateInterval = 10_000;

/**
 * The kernel's initiator (open-iscsi) on this host: volumes become SCSI disks. iscsid must run. What is connected outlives
 * the process; {@link OpenIscsiInitiator.targets} finds it again, and {@link OpenIscsiInitiator.disconnect} ends it.
 */
export class OpenIscsiInitiator implements Initiator {
  readonly reaches = ['iscsi'];
  readonly #options: OpenIscsiInitiatorOptions;
  readonly #directory: string;
  readonly #records: NodeRecords;
  readonly #disks = new ScsiDisks();
  readonly #maps: MultipathMaps;
  /** By target: what one call does must not be undone by another. */
  readonly #locks = new ObjectLocks();
  /** Open devices by target. */
  readonly #open = new Map<string, Set<OpenIscsiDevice>>();

  constructor(options: OpenIscsiInitiatorOptions) {
    this.#options = options;
    this.#directory = options.directory ?? '/etc/iscsi';
    this.#records = new NodeRecords(options.exec, this.#directory);
    this.#maps = new MultipathMaps(options.exec);
  }

  async connector({ signal }: PluginCall): Promise<Connector> {
    signal.throwIfAborted();
    const path = join(this.#directory, 'initiatorname.iscsi');
    const text = await readFile(path, 'utf8').catch(() => '');
    const initiator = /^InitiatorName=(\S+)/m.exec(text)?.[1];
    if (initiator === undefined) {
      throw new ScoriaError('invalid-configuration', `${path} tells no InitiatorName`, {
        remedy: 'Install open-iscsi, or write the name of this host into that file.',
      });
    }
    return { initiator, host: hostname(), multipath: this.#options.multipath ?? false };
  }

  async connect(info: ConnectionInfo, options: OpenOptions, call: PluginCall): Promise<ConnectedDevice> {
    call.signal.throwIfAborted();
    const parsed = checkedInfo(info);
    return this.#locks.run(targetsOf(parsed), async () => {
      const before = await this.#sessionsOf(parsed);
      try {
        return await this.#connect(parsed, options, call);
      } catch (error) {
        // What was there before is somebody's; what this call made is nobody's.
        if (before.length === 0) await this.#end(parsed, { ...call, signal: new AbortController().signal }).catch(() => {});
        throw error;
      }
    });
  }

  async disconnect(info: ConnectionInfo, call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    const parsed = checkedInfo(info);
    return this.#locks.run(targetsOf(parsed), () => this.#end(parsed, call));
  }

  /** Names of the targets with a prefix that this host has sessions with or records of, also from processes that died. */
  async targets(prefix: string): Promise<readonly string[]> {
    const sessions = await this.#disks.sessions((target) => target.startsWith(prefix));
    const records = (await this.#records.targets()).filter((target) => target.startsWith(prefix));
    return [...new Set([...sessions.map(({ target }) => target), ...records])].toSorted();
  }

  /** Targets that a portal tells of to whoever asks; see {@link sendTargets}. */
  async discover(portal: ListenAddress, call: PluginCall): Promise<readonly DiscoveredTarget[]> {
    call.signal.throwIfAborted();
    return sendTargets(this.#options.exec, portal, call);
  }

  async #connect(info: IscsiConnectionInfo, options: OpenOptions, call: PluginCall): Promise<ConnectedDevice> {
    const disks = await this.#logIn(info, call);
    // The kernel has told what it knew when it found them, which may have been long ago.
    for (const disk of disks) await this.#disks.rescan(disk);
    const [first] = disks;
    if (first === undefined) throw new ScoriaError('internal', `Nothing of ${nameOf(info)} was connected`);
    const serial = await this.#disks.serial(first);
    for (const disk of disks) {
      const found = await this.#disks.serial(disk);
      if (info.volumeId !== null && found !== info.volumeId) {
        throw new ScoriaError('device-gone', `${nameOf(info)} has become serial number ${found}, another volume`);
      }
    }
    const map = mapOf(info);
    const mapped = this.#options.multipath === true && map !== null;
    const path = mapped ? await this.#maps.set(map, disks, call) : first.path;
    const locator = { kind: 'path', path, blockSize: first.blockSize };
    const readOnly = options.readOnly || info.readOnly;
    const inner = await openPathDevice(locator, { readOnly, io: 'pool', clock: this.#options.clock });
    const watch = mapped ? this.#watchPaths(map) : undefined;
    const device: OpenIscsiDevice = new OpenIscsiDevice(inner, {
      ...{ serial, path },
      rescan: async () => {
        for (const disk of disks) await this.#disks.rescan(disk);
        if (mapped) await this.#maps.set(map, disks, quietCall());
      },
      onClose: () => {
        watch?.[Symbol.dispose]();
        for (const target of targetsOf(info)) this.#open.get(target)?.delete(device);
      },
    });
    for (const target of targetsOf(info)) {
      this.#open.set(target, (this.#open.get(target) ?? new Set()).add(device));
    }
    return device;
  }

  /** Logs in at one portal, or with multipath at all that answer, and returns the disks. */
  async #logIn(info: IscsiConnectionInfo, call: PluginCall): Promise<readonly ScsiDisk[]> {
    const disks: ScsiDisk[] = [];
    const failures: ScoriaError[] = [];
    for (const path of info.paths) {
      try {
        disks.push(await this.#logInAt(path, info, call));
        if (this.#options.multipath !== true) break;
      } catch (error) {
        call.signal.throwIfAborted();
        failures.push(ScoriaError.from(error));
      }
    }
    const [failure] = failures;
    if (disks.length === 0 && failure !== undefined) throw failure;
    for (const { code, message } of failures) this.#options.log.warn({ code, error: message }, 'a path to a volume is missing');
    return disks;
  }

  async #logInAt({ portal, targetName, lun }: UnitPath, { chap }: IscsiConnectionInfo, call: PluginCall): Promise<ScsiDisk> {
    const node = { target: targetName, portal: formatAddress(portal) };
    const find = async (): Promise<KernelSession | undefined> =>
      (await this.#disks.sessions((target) => target === targetName)).find((session) => session.portal === node.portal);
    if ((await find()) === undefined) {
      await this.#records.add(node, chap === null ? null : { user: chap.name, secret: chap.secret }, call);
      await this.#records.login(node, call);
    }
    let sinceScan = 0;
    return this.#until(diskDeadline, `LUN ${lun} of ${node.target} at ${node.portal} to appear`, call, async () => {
      const session = await find();
      const disk = session && (await this.#disks.disk(session, lun));
      if (session !== undefined && disk === undefined && (sinceScan += pollInterval) >= scanInterval) {
        sinceScan = 0;
        await this.#disks.scan(session, lun);
      }
      return disk;
    });
  }

  /** Ends sessions and records of a connection, in the order in which nothing written is lost. */
  async #end(info: IscsiConnectionInfo, call: PluginCall): Promise<void> {
    for (const target of targetsOf(info)) {
      for (const device of this.#open.get(target) ?? []) await device.close();
    }
    const map = mapOf(info);
    if (map !== null) await this.#maps.remove(map, call);
    for (const session of await this.#sessionsOf(info)) await this.#disks.removeAll(session);
    for (const target of targetsOf(info)) {
      await this.#records.logout(target, call);
      await this.#records.remove(target, call);
    }
    for (const session of await this.#sessionsOf(info)) await this.#records.endSession(session.id, call);
    await this.#until(endDeadline, `all sessions with ${nameOf(info)} to end`, call, async () =>
      (await this.#sessionsOf(info)).length === 0 ? true : undefined,
    );
  }

  async #sessionsOf(info: IscsiConnectionInfo): Promise<readonly KernelSession[]> {
    const targets = targetsOf(info);
    return this.#disks.sessions((target) => targets.includes(target));
  }

  /** Looks from time to time whether paths that failed work again. */
  #watchPaths(map: string): Disposable {
    const { clock, log } = this.#options;
    let over = false;
    const look = (): void => {
      this.#maps
        .reinstate(map, quietCall())
        .catch((error: unknown) => log.warn({ map, error: ScoriaError.from(error).message }, 'paths could not be looked at'))
        .finally(() => {
          if (!over) timer = clock.timer(reinstateInterval, look);
        });
    };
    let timer = clock.timer(reinstateInterval, look);
    return {
      [Symbol.dispose]: () => {
        over = true;
        timer[Symbol.dispose]();
      },
    };
  }

  async #until<T>(ms: number, what: string, { signal }: PluginCall, look: () => Promise<T | undefined>): Promise<T> {
    const { clock } = this.#options;
    const end = clock.monotonic() + ms;
    for (;;) {
      const found = await look();
      if (found !== undefined) return found;
      if (clock.monotonic() >= end) throw new ScoriaError('deadline-exceeded', `It took more than ${ms} ms for ${what}`);
      await clock.sleep(pollInterval, signal);
    }
  }
}

/** What goes into names of files and lines of records has their form. */
function checkedInfo(info: ConnectionInfo): IscsiConnectionInfo {
  const parsed = parseConnectionInfo(info);
  const { name = '', secret = '' } = parsed.chap ?? {};
  if (!targetsOf(parsed).every(isIscsiName)) throw new ScoriaError('invalid-input', 'The connection info names no iSCSI target');
  // oxlint-disable-next-line no-control-regex
  if (/[\x00-\x1f]/.test(name + secret))
    throw new ScoriaError('invalid-input', 'open-iscsi takes names and secrets of one line only');
  return parsed;
}

const targetsOf = ({ paths }: IscsiConnectionInfo): readonly string[] => [...new Set(paths.map(({ targetName }) => targetName))];

/** Name of the map over the paths to a volume; `null` where the information names no volume. */
const mapOf = ({ volumeId }: IscsiConnectionInfo): string | null => (volumeId === null ? null : `scoria-${volumeId}`);

const nameOf = (info: IscsiConnectionInfo): string => `target ${targetsOf(info).join(', ')}`;

/** A call of our own, that nobody cancels. */
const quietCall = (): PluginCall => ({ signal: new AbortController().signal, fence: 0, progress: () => {} });
