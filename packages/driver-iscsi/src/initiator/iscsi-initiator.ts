import { hostname } from 'node:os';
import { ScoriaError, type Clock, type Log, type OpenOptions, type Random } from '@scoria/core/device';
import type { ConnectedDevice, ConnectionInfo, Connector, Initiator, PluginCall } from '@scoria/core';
import type { ChapSecret } from '../protocol/chap.ts';
import { formatAddress } from '../protocol/listen-address.ts';
import { parseConnectionInfo, type IscsiConnectionInfo } from './connection-info.ts';
import { IscsiDevice } from './iscsi-device.ts';
import { defaultOffer, type OperationalOffer } from './operational-offer.ts';
import { RecoveringSession, type RecoveryTimes } from './recovering-session.ts';

/** What an initiator is made of. */
export interface IscsiInitiatorOptions {
  /** The name of this host's initiator, an IQN or EUI (RFC 7143, 4.2.7). */
  readonly initiatorName: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Name of this host for the connector. Default: the machine's. */
  readonly host?: string;
  /** Name and secret that every target has to prove (mutual CHAP). */
  readonly targetSecret?: ChapSecret;
  /** What is asked for at login; the rest by default. */
  readonly offer?: Partial<OperationalOffer>;
  /** Commands of one device that are on their way at once, at most. Default: 64. */
  readonly queueDepth?: number;
  readonly times?: Partial<RecoveryTimes>;
}

/** Default times, ms. */
const defaultTimes: RecoveryTimes = {
  loginDeadline: 15_000,
  patience: 60_000,
  pingInterval: 5_000,
  commandDeadline: 60_000,
  answerDeadline: 10_000,
};

/**
 * An iSCSI initiator in this process: no kernel module, no root, no device node. Each connection is a session of its own.
 * What a process had connected ends with the process.
 */
export class IscsiInitiator implements Initiator {
  readonly reaches = ['iscsi'];
  readonly #options: IscsiInitiatorOptions;
  readonly #times: RecoveryTimes;
  readonly #offer: OperationalOffer;
  /** Open devices by what they are connected to. */
  readonly #devices = new Map<string, Set<IscsiDevice>>();
  /** Begins the ISID of this object's sessions. */
  readonly #isidPrefix: Uint8Array;
  #sessions = 0;

  constructor(options: IscsiInitiatorOptions) {
    this.#options = options;
    this.#times = { ...defaultTimes, ...options.times };
    this.#offer = { ...defaultOffer, ...options.offer };
    this.#isidPrefix = options.random.bytes(3);
  }

  connector({ signal }: PluginCall): Promise<Connector> {
    signal.throwIfAborted();
    return Promise.resolve({
      initiator: this.#options.initiatorName,
      host: this.#options.host ?? hostname(),
      multipath: false,
    });
  }

  async connect(info: ConnectionInfo, options: OpenOptions, { signal }: PluginCall): Promise<ConnectedDevice> {
    signal.throwIfAborted();
    const parsed = parseConnectionInfo(info);
    const { clock, log } = this.#options;
    const name = nameOf(parsed);
    const session = await this.#openSession(parsed, name, signal);
    const giveUp = (): void => session.abandon('was given up');
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      const readOnly = options.readOnly || parsed.readOnly;
      const context = { clock, log, name, patience: this.#times.patience };
      const device = await IscsiDevice.open(session, { readOnly }, context);
      signal.throwIfAborted();
      this.#keep(keyOf(parsed), device, session);
      return device;
    } catch (error) {
      session.abandon('could not be opened');
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  async disconnect(info: ConnectionInfo, { signal }: PluginCall): Promise<void> {
    signal.throwIfAborted();
    const devices = this.#devices.get(keyOf(parseConnectionInfo(info))) ?? [];
    await Promise.all(Array.from(devices, (device) => device.drop()));
  }

  #keep(key: string, device: IscsiDevice, session: RecoveringSession): void {
    const devices = this.#devices.get(key) ?? new Set();
    this.#devices.set(key, devices.add(device));
    session.onEnd(() => {
      devices.delete(device);
      if (devices.size === 0 && this.#devices.get(key) === devices) this.#devices.delete(key);
    });
  }

  #openSession(info: IscsiConnectionInfo, name: string, signal: AbortSignal): Promise<RecoveringSession> {
    const { initiatorName, targetSecret, queueDepth = 64, clock, random, log } = this.#options;
    const { paths, chap, volumeId: serial } = info;
    if (chap !== null && chap.secret === targetSecret?.secret) {
      // RFC 7143, 12.1.3: otherwise an answer could be reflected.
      throw new ScoriaError('invalid-input', `${name}: both directions of mutual CHAP have the same secret`);
    }
    if (chap === null && targetSecret !== undefined) {
      throw new ScoriaError('not-permitted', `${name}: the target has to prove itself, and the connection is without CHAP`);
    }
    const credentials = chap === null ? null : { own: chap, target: targetSecret };
    const settings = { name, paths, initiatorName, credentials, queueDepth, serial, clock, random, log };
    return RecoveringSession.open({ ...settings, isid: this.#nextIsid(), offer: this.#offer, times: this.#times }, signal);
  }

  /** An ISID in the random format: no other session of this initiator name has it (RFC 7143, 11.12.5). */
  #nextIsid(): Buffer {
    const isid = Buffer.alloc(6);
    isid[0] = 0x80;
    isid.set(this.#isidPrefix, 1);
    isid.writeUInt16BE(this.#sessions++ & 0xffff, 4);
    return isid;
  }
}

const keyOf = ({ paths: [first] }: IscsiConnectionInfo): string => `${first?.targetName} ${first?.lun}`;

function nameOf({ paths: [first], volumeId }: IscsiConnectionInfo): string {
  const place = first === undefined ? '' : ` at ${formatAddress(first.portal)}, target ${first.targetName}, LUN ${first.lun}`;
  return volumeId === null ? `The logical unit${place}` : `Volume ${volumeId}${place}`;
}
