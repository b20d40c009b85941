import { createServer, type Server, type Socket } from 'node:net';
import { ScoriaError, type Clock, type Log, type Random } from '@scoria/core/device';
import { addUnitAttention } from '../scsi/command.ts';
import { maxTransferLength } from '../scsi/inquiry.ts';
import { senseOf } from '../scsi/sense.ts';
import { BufferPool } from './buffer-pool.ts';
import type { ChapSecret } from './chap.ts';
import { Connection } from './connection.ts';
import { DataBudget } from './data-budget.ts';
import { formatAddress, type ListenAddress } from './listen-address.ts';
import { isProved, portalGroupTag, sameName, type LoginPolicy, type LoginResult } from './login.ts';
import { bhsLength } from './pdu.ts';
import { Session, type SessionLimits } from './session.ts';
import type { Target, TargetRegistry } from './target-registry.ts';

/** What a portal needs. */
export interface PortalOptions {
  readonly registry: TargetRegistry;
  readonly listen: readonly ListenAddress[];
  /** Address told in discovery; by default the one at which the initiator reached the target. */
  readonly advertise?: string | undefined;
  /** See `LoginPolicy`. */
  readonly authentication: 'chap' | 'initiator-name';
  readonly mutualChap?: ChapSecret | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const limits: SessionLimits = { window: 128, immediate: 16, memory: 33_554_432, maxTaskCost: maxTransferLength };
/** Connections of initiators that have proved who they are. */
const maxProved = 8192;
/** Connections in login, and discovery sessions without authentication. */
const maxUnproved = 1024;
const maxSessionsPerTarget = 16;
/** Bytes of data of commands under way, over all sessions. */
const maxDataUnderWay = 134_217_728;
/** Bytes of buffers kept for reuse, over all sessions. */
const maxPooled = 33_554_432;
/** Seconds that initiators get to log out when the portal stops. */
const logoutSeconds = 1;
/** Seconds that they get when they are to log in elsewhere. Who stays is not driven away. */
const redirectSeconds = 60;

/** The listening side of the target (RFC 7143, 4.2.6, "network portal"): connections, and which sessions there are. */
export class Portal {
  readonly #options: PortalOptions;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<Connection>();
  /** Those of them that have not proved who they are. */
  readonly #unproved = new Set<Connection>();
  #refusing = false;
  /** Sessions by target, initiator and ISID: a second login of the same three takes the place of the first. */
  readonly #sessions = new Map<string, Session>();
  readonly #tsihs = new Set<number>();
  readonly #pool = new BufferPool(bhsLength, maxPooled);
  readonly #budget = new DataBudget(maxDataUnderWay);
  /** Addresses to tell in discovery; `null`: only the one at which an initiator came is known to reach us. */
  readonly #advertised: readonly string[] | null;
  #lastTsih = 0;
  #policy: LoginPolicy;

  constructor(options: PortalOptions) {
    this.#options = options;
    const { advertise, listen: addresses, authentication, mutualChap } = options;
    this.#policy = { authentication, mutualChap, hasSession: (tsih) => this.#tsihs.has(tsih) };
    const fixed = addresses.every(({ host, port }) => port !== 0 && host !== '0.0.0.0' && host !== '::');
    this.#advertised = advertise !== undefined ? [advertise] : fixed ? addresses.map(formatAddress) : null;
  }

  /** Listens on every address. Rejects with `address-in-use` or `invalid-configuration`, and then listens on none. */
  async start(): Promise<void> {
    try {
      for (const address of this.#options.listen) this.#servers.push(await listen(address, (socket) => this.#accept(socket)));
    } catch (error) {
      await this.#closeServers();
      throw error;
    }
  }

  /** Addresses really listened on; the port is known here when 0 was asked for. */
  get addresses(): readonly ListenAddress[] {
    return this.#servers.flatMap((server) => {
      const address = server.address();
      return address !== null && typeof address === 'object' ? [{ host: address.address, port: address.port }] : [];
    });
  }

  /**
   * Sends every normal login to another address (RFC 7143, 11.13.5), and asks the initiators that are logged in to come
   * again; `null` ends that.
   */
  redirect(address: string | null): void {
    const before = this.#policy.redirect;
    this.#policy = { ...this.#policy, redirect: address ?? undefined };
    if (address === null || address === before) return;
    for (const session of this.#sessions.values()) session.requestLogout(redirectSeconds);
  }

  /** Takes no more connections, asks initiators to log out, then ends what is left. */
  async stop(): Promise<void> {
    const closed = this.#closeServers();
    const sessions = [...this.#sessions.values()];
    if (sessions.length > 0) {
      for (const session of sessions) session.requestLogout(logoutSeconds);
      const gone = Promise.all([...this.#connections].map((connection) => connection.closed));
      const { promise: late, resolve } = Promise.withResolvers<void>();
      using _timer = this.#options.clock.timer(logoutSeconds * 1000, resolve);
      await Promise.race([gone, late]);
    }
    await Promise.all(sessions.map((session) => session.drop()));
    for (const connection of this.#connections) connection.destroy();
    await closed;
  }

  async #closeServers(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => new Promise<void>((resolve) => server.close(() => resolve()))));
  }

  #accept(socket: Socket): void {
    const refused = this.#unproved.size >= maxUnproved || this.#connections.size - this.#unproved.size >= maxProved;
    if (refused && !this.#refusing) {
      // Told once, or whoever floods us would flood the log.
      const counts = { connections: this.#connections.size, unproved: this.#unproved.size };
      this.#options.log.warn(counts, 'iSCSI connections are refused: there are too many');
    }
    this.#refusing = refused;
    if (refused) return void socket.destroy();
    const connection = new Connection(socket, {
      registry: this.#options.registry,
      policy: this.#policy,
      clock: this.#options.clock,
      random: this.#options.random,
      log: this.#options.log,
      openSession: (by, login) => this.#open(by, login),
    });
    this.#connections.add(connection);
    this.#unproved.add(connection);
    void connection.closed.then(() => {
      this.#connections.delete(connection);
      this.#unproved.delete(connection);
    });
  }

  async #open(connection: Connection, login: LoginResult): Promise<Session> {
    const { target } = login;
    if (isProved(login)) this.#unproved.delete(connection);
    if (target !== null && !this.#options.registry.has(target)) throw new ScoriaError('not-found', 'The access has ended');
    if (target !== null && target.sessions.size >= maxSessionsPerTarget) {
      throw new ScoriaError('conflict', `The target ${target.name} has ${target.sessions.size} sessions already`);
    }
    const key = `${target?.name ?? ''}|${login.initiatorName.toLowerCase()}|${login.isid}`;
    // Every discovery session stands alone: it has nothing to reinstate.
    const before = target === null ? undefined : this.#sessions.get(key);
    const tsih = this.#nextTsih();
    const session: Session = new Session({
      connection,
      tsih,
      connectionId: login.connectionId,
      initiatorName: login.initiatorName,
      isid: login.isid,
      target,
      parameters: login.parameters,
      limits,
      pool: this.#pool,
      budget: this.#budget,
      discover: () => this.#visibleTo(login, connection),
      onClosed: () => {
        this.#tsihs.delete(tsih);
        target?.sessions.delete(session);
        if (this.#sessions.get(key) === session) this.#sessions.delete(key);
      },
    });
    if (target === null) return session;
    this.#sessions.set(key, session);
    target.sessions.add(session);
    // Session reinstatement: the tasks of the old session end before the new one begins (RFC 7143, 6.3.5).
    if (before !== undefined) await before.close();
    if (session.ending || !this.#options.registry.has(target)) {
      await session.close();
      throw new ScoriaError('not-found', 'The access ended during the login');
    }
    addUnitAttention(session.nexus, before === undefined ? senseOf.powerOn : senseOf.nexusLoss);
    target.logicalUnit.nexuses.add(session.nexus);
    return session;
  }

  #nextTsih(): number {
    do this.#lastTsih = (this.#lastTsih % 0xffff) + 1;
    while (this.#tsihs.has(this.#lastTsih));
    this.#tsihs.add(this.#lastTsih);
    return this.#lastTsih;
  }

  /** Targets that a login may know of: the one whose secret it proved, or those that are bound to its initiator name. */
  #visibleTo(login: LoginResult, connection: Connection): readonly (readonly [string, string])[] {
    const addresses = this.#advertised ?? [connection.localAddress];
    return this.#targetsOf(login).flatMap((target) => [
      ['TargetName', target.name] as const,
      ...addresses.map((address) => ['TargetAddress', `${address},${portalGroupTag}`] as const),
    ]);
  }

  #targetsOf({ target, chapName, initiatorName }: LoginResult): readonly Target[] {
    const { registry, authentication } = this.#options;
    if (target !== null) return [target];
    if (authentication === 'initiator-name') {
      return [...registry.values()].filter(({ initiator }) => initiator !== undefined && sameName(initiator, initiatorName));
    }
    const proved = chapName === null ? undefined : registry.findAccess(chapName);
    return proved === undefined ? [] : [proved];
  }
}

function listen({ host, port }: ListenAddress, onConnection: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, onConnection);
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    server.listen({ host, port }, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve(server);
    });
  });
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): ScoriaError {
  if (error.code === 'EADDRINUSE') {
    return new ScoriaError('address-in-use', `The iSCSI target cannot listen on ${host}:${port}: something else does already`, {
      remedy: `Stop what listens on ${host}:${port}, or choose another address for the iSCSI target.`,
      details: { host, port },
      cause: error,
    });
  }
  return new ScoriaError('invalid-configuration', `The iSCSI target cannot listen on ${host}:${port}: ${error.message}`, {
    details: { host, port },
    cause: error,
  });
}
