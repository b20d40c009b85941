import { join } from 'node:path';
import { ScoriaError, type Clock, type ExportRequest, type ExportStatus } from '@scoria/core';
import { accessIdOf, uuidOf } from '../access-id.ts';
import { checkedInitiatorName } from '../initiator-name.ts';
import { formatAddress, type ListenAddress } from '../protocol/listen-address.ts';
import { targetName } from '../target/target-name.ts';
import { volumeOfBackstore } from './backstore.ts';
import { refusedWith, type ConfigTree } from './configfs.ts';

/** What all targets of a transport have in common. */
export interface TargetOptions {
  readonly iqnPrefix: string;
  readonly portals: readonly ListenAddress[];
  readonly queueDepth: number;
  /** Seconds. */
  readonly loginTimeout: number;
  readonly clock: Clock;
}

/**
 * Name that initiators of an access log in with. Linux 6.0 and later take a name that begins with `0b`, as an id may, for
 * base64 (`extract_param` of the iSCSI target) and refuse the login.
 */
export const userOf = (accessId: string): string => `scoria-${accessId}`;

const fabric = 'iscsi';
const unit = 'lun/lun_0';
/** Names of the link from the logical unit to its backstore. They tell what may be done with it. */
const backstoreLinks = { readWrite: 'read-write', readOnly: 'read-only' } as const;
/** The largest that LIO's parameters allow and initiators ask for, bytes. */
const dataSegmentLength = 262_144;
/** Time for sessions to end after their target is disabled, and between two looks, ms. */
const sessionDeadline = 20_000;
const sessionPoll = 20;

/** What a logical unit is linked to. */
interface LinkedBackstore {
  /** Path in the tree. */
  readonly backstore: string;
  readonly volumeId: string;
  readonly readOnly: boolean;
}

/**
 * The iSCSI targets of one transport in LIO: one for each access, with one portal group and LUN 0. The alias of a target
 * is the id of its volume: it is the first that is set and the last that goes, so that what a process left half-made
 * tells which backstore belongs to it.
 */
export class Targets {
  readonly #tree: ConfigTree;
  readonly #options: TargetOptions;

  constructor(tree: ConfigTree, options: TargetOptions) {
    this.#tree = tree;
    this.#options = options;
  }

  /** Ids of the accesses that have a target, whole or not. */
  async accessIds(): Promise<readonly string[]> {
    const names = await this.#tree.list(fabric);
    return names.flatMap((name) => accessIdOf(this.#options.iqnPrefix, name) ?? []);
  }

  /** The volume whose backstore a target may use; `null` for a target that never had one, and where there is none. */
  async volumeOf(accessId: string): Promise<string | null> {
    const group = this.#group(accessId);
    // The kernel keeps the attributes of a target locked while it ends its sessions, and links readable.
    const linked = await this.#backstoreOf(group);
    if (linked !== null) return linked.volumeId;
    const alias = await this.#tree.read(join(group, 'param/TargetAlias'));
    return alias === null ? null : uuidOf(alias);
  }

  /** Whether the target is there and serves exactly this, on whatever portals. */
  async serves(request: ExportRequest): Promise<boolean> {
    const group = this.#group(request.accessId);
    if ((await this.#tree.read(join(group, 'enable'))) !== '1') return false;
    const [linked, initiators] = await Promise.all([this.#backstoreOf(group), this.#tree.list(join(group, 'acls'))]);
    const { initiator } = request;
    return (
      linked?.volumeId === request.volumeId &&
      linked.readOnly === request.readOnly &&
      (await this.#tree.read(join(linked.backstore, 'udev_path'))) === request.device.path &&
      initiators.join() === (initiator ?? '') &&
      (await this.#hasSecret(this.#credentials(group, initiator), request))
    );
  }

  /** Makes a target that nobody can log in to, and that tells its volume. `false` when there is something of it already. */
  async begin({ accessId, volumeId }: ExportRequest): Promise<boolean> {
    const group = this.#group(accessId);
    if (!(await this.#tree.make(join(group, '..')))) return false;
    await this.#tree.make(group);
    await this.#tree.set(join(group, 'param/TargetAlias'), volumeId);
    return true;
  }

  /** Gives a begun target its logical unit, its secret and its portals, and lets initiators in. */
  async complete(request: ExportRequest, backstore: string, signal: AbortSignal): Promise<void> {
    const { accessId, readOnly, initiator } = request;
    const group = this.#group(accessId);
    const set = (attribute: string, value: string | number): Promise<void> =>
      this.#tree.set(join(group, attribute), String(value));
    await set('attrib/authentication', 1);
    await set('attrib/generate_node_acls', initiator === undefined ? 1 : 0);
    await set('attrib/demo_mode_write_protect', readOnly ? 1 : 0);
    await set('attrib/demo_mode_discovery', initiator === undefined ? 1 : 0);
    await set('attrib/default_cmdsn_depth', this.#options.queueDepth);
    await set('attrib/login_timeout', this.#options.loginTimeout);
    await set('param/AuthMethod', 'CHAP');
    await set('param/MaxRecvDataSegmentLength', dataSegmentLength);
    // A session whose connection is lost ends at once: at error recovery level 0 nothing of it can be taken up.
    await set('param/DefaultTime2Retain', 0);
    signal.throwIfAborted();
    await this.#tree.make(join(group, unit));
    await this.#tree.link(backstore, join(group, unit, readOnly ? backstoreLinks.readOnly : backstoreLinks.readWrite));
    if (initiator !== undefined) await this.#admit(group, initiator, readOnly);
    await this.#setSecret(this.#credentials(group, initiator), request);
    signal.throwIfAborted();
    for (const portal of this.#options.portals) await this.#listen(group, formatAddress(portal));
    signal.throwIfAborted();
    await this.#tree.write(join(group, 'enable'), '1');
  }

  /** Serves a target on the portals that there are to be, and on no others. Sessions go on. */
  async listen(accessId: string): Promise<void> {
    const group = this.#group(accessId);
    const [found, wanted] = [await this.#tree.list(join(group, 'np')), this.#options.portals.map(formatAddress)];
    for (const portal of wanted) if (!found.includes(portal)) await this.#listen(group, portal);
    for (const portal of found) if (!wanted.includes(portal)) await this.#tree.remove(join(group, 'np', portal));
  }

  /**
   * Ends sessions and takes the logical unit away: when it settles no write can follow, because the kernel ends
   * commands under way first. What remains of the target tells its volume. May wait for a slow disk.
   */
  async fence(accessId: string): Promise<void> {
    const group = this.#group(accessId);
    await this.#disable(group);
    for (const portal of await this.#tree.list(join(group, 'np'))) await this.#tree.remove(join(group, 'np', portal));
    for (const name of await this.#tree.list(join(group, 'acls'))) {
      const admitted = join(group, 'acls', name);
      await this.#tree.unlink(join(admitted, 'lun_0/unit'));
      await this.#tree.remove(join(admitted, 'lun_0'));
      await this.#tree.remove(admitted);
    }
    for (const link of Object.values(backstoreLinks)) if (await this.#tree.unlink(join(group, unit, link))) break;
    await this.#tree.remove(join(group, unit));
    await this.#endLateSessions(accessId);
  }

  /** Lets nobody in, and ends the sessions that there are. */
  async #disable(group: string): Promise<void> {
    try {
      await this.#tree.write(join(group, 'enable'), '0');
    } catch (error) {
      // It is not enabled, or there is nothing of it.
      if (!refusedWith(error, 'EINVAL', 'ENOENT')) throw error;
    }
  }

  /**
   * A login that the kernel was about to finish when the target was disabled is a session afterwards, and stays one. Its
   * unit is gone, but while it is there the kernel would not be done with the target. Only disabling ends it, which an
   * enabled target alone can be; with its portals gone nobody gets in meanwhile.
   *
   * A session that ends by itself is off the list of sessions before the kernel is done with it, and still uses the target
   * then: one that is removed in that moment takes the kernel with it. The count goes down afterwards (`iscsit_close_session`).
   */
  async #endLateSessions(accessId: string): Promise<void> {
    const { clock } = this.#options;
    const group = this.#group(accessId);
    const end = clock.monotonic() + sessionDeadline;
    for (;;) {
      const sessions = await this.#tree.read(join(group, 'dynamic_sessions'));
      const count = Number(await this.#tree.read(join(group, '../fabric_statistics/iscsi_instance/sessions')));
      if (!sessions && !(count > 0)) return;
      if (clock.monotonic() >= end) {
        throw new ScoriaError('transport-failed', `LIO has not ended the sessions of access ${accessId}`, {
          details: { sessions, count },
        });
      }
      if (sessions) {
        await this.#tree.write(join(group, 'enable'), '1');
        await this.#disable(group);
      }
      await clock.sleep(sessionPoll);
    }
  }

  /** Removes what {@link fence} leaves. */
  async remove(accessId: string): Promise<void> {
    const group = this.#group(accessId);
    await this.#tree.remove(group);
    await this.#tree.remove(join(group, '..'));
  }

  /** One access, or `null` where there is no target that tells its volume. */
  async status(accessId: string): Promise<ExportStatus | null> {
    const group = this.#group(accessId);
    const linked = await this.#backstoreOf(group);
    const volumeId = linked?.volumeId ?? (await this.volumeOf(accessId));
    if (volumeId === null) return null;
    const [enabled, dynamic, initiators, portals] = await Promise.all([
      this.#tree.read(join(group, 'enable')),
      this.#tree.read(join(group, 'dynamic_sessions')),
      this.#tree.list(join(group, 'acls')),
      this.#tree.list(join(group, 'np')),
    ]);
    const bound = await Promise.all(
      initiators.map(async (name) => {
        const info = await this.#tree.read(join(group, 'acls', name, 'info'));
        return info?.startsWith('InitiatorName:') ? [name] : [];
      }),
    );
    const sessions = [...(dynamic ?? '').split('\n').filter((name) => name !== ''), ...bound.flat()];
    // It is enabled last of all when it is made, and disabled first when it ends.
    const served = this.#options.portals.every((portal) => portals.includes(formatAddress(portal)));
    const complete = enabled === '1' && linked !== null && served;
    return { accessId, volumeId, readOnly: linked?.readOnly ?? true, complete, sessions };
  }

  #group(accessId: string): string {
    return join(fabric, targetName(this.#options.iqnPrefix, accessId), 'tpgt_1');
  }

  /** What the logical unit of a portal group is linked to. */
  async #backstoreOf(group: string): Promise<LinkedBackstore | null> {
    for (const link of Object.values(backstoreLinks)) {
      const backstore = await this.#tree.target(join(group, unit, link));
      if (backstore === null) continue;
      const volumeId = volumeOfBackstore(backstore);
      if (volumeId !== null) return { backstore, volumeId, readOnly: link === backstoreLinks.readOnly };
    }
    return null;
  }

  #credentials(group: string, initiator: string | undefined): string {
    return initiator === undefined ? join(group, 'auth') : join(group, 'acls', initiator, 'auth');
  }

  async #setSecret(credentials: string, { accessId, secret }: ExportRequest): Promise<void> {
    await this.#tree.set(join(credentials, 'userid'), userOf(accessId));
    await this.#tree.set(join(credentials, 'password'), secret);
  }

  async #hasSecret(credentials: string, { accessId, secret }: ExportRequest): Promise<boolean> {
    const [user, password] = await Promise.all(['userid', 'password'].map((name) => this.#tree.read(join(credentials, name))));
    return user === userOf(accessId) && password === secret;
  }

  /** Lets one initiator name in, and no other. */
  async #admit(group: string, name: string, readOnly: boolean): Promise<void> {
    const admitted = join(group, 'acls', checkedInitiatorName(name));
    await this.#tree.make(admitted);
    await this.#tree.make(join(admitted, 'lun_0'));
    await this.#tree.link(join(group, unit), join(admitted, 'lun_0/unit'));
    await this.#tree.set(join(admitted, 'lun_0/write_protect'), readOnly ? '1' : '0');
  }

  async #listen(group: string, address: string): Promise<void> {
    try {
      await this.#tree.make(join(group, 'np', address));
    } catch (error) {
      // The kernel says no more than EINVAL when it cannot bind its socket.
      if (refusedWith(error, 'EINVAL', 'EADDRINUSE', 'EADDRNOTAVAIL')) {
        throw new ScoriaError('address-in-use', `LIO cannot listen on ${address}`, {
          cause: error,
          remedy: 'Stop what else listens there, or see whether this is an address of this host.',
        });
      }
      throw error;
    }
  }
}
