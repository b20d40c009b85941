import {
  ObjectLocks,
  ScoriaError,
  type Clock,
  type ConnectionInfo,
  type Exec,
  type ExportRequest,
  type ExportStats,
  type ExportStatus,
  type Log,
  type PluginCall,
  type Transport,
} from '@scoria/core';
import { iscsiConnectionInfo } from '../connection-info.ts';
import { advertisedPortals, listenAddresses } from '../portal-configuration.ts';
import { Backstores } from './backstore.ts';
import type { ConfigTree } from './configfs.ts';
import type { LioConfiguration } from './configuration.ts';
import { Permits } from './permits.ts';
import { Targets, userOf } from './targets.ts';

/** What a {@link LioTransport} needs. */
export interface LioTransportOptions {
  readonly config: LioConfiguration;
  /** LIO's tree; of the kernel: `new Configfs(lioRoot)`. */
  readonly tree: ConfigTree;
  readonly clock: Clock;
  readonly log: Log;
  /** Runs modprobe at the start, where the kernel's modules are not loaded. No other program is ever run. */
  readonly exec: Exec;
}

/** Where the kernel shows LIO's tree. */
export const lioRoot = '/sys/kernel/config/target';
const modprobeDeadline = 20_000;
/** By such a secret the kernel knows that there is none (Linux, iscsi_target_configfs.c, `naf_flags`), and lets nobody in. */
const unset = 'NULL';
/**
 * Fences at the same time. Each may hold a thread of libuv's pool for as long as a disk does not answer, and the rest of
 * the process needs the others.
 */
const fences = 2;
/** Targets looked at or ended at the same time. */
const together = 8;

/**
 * LIO, the kernel's iSCSI target, as a transport. It is driven through configfs alone: publishing and ending an access
 * runs no program. The kernel's tree is the only memory: a process that starts finds there what an earlier one made, and
 * whatever was left half-made is finished or removed when its access is published or ended again.
 */
export class LioTransport implements Transport {
  readonly reaches = ['path'];
  readonly #options: LioTransportOptions;
  readonly #tree: ConfigTree;
  readonly #targets: Targets;
  readonly #backstores: Backstores;
  /** One caller at a time per access, and inside of that per volume. */
  readonly #locks = new ObjectLocks();
  readonly #fences = new Permits(fences);
  #started = false;

  constructor(options: LioTransportOptions) {
    const { config, tree, clock } = options;
    this.#options = options;
    this.#tree = tree;
    this.#targets = new Targets(tree, { ...config, portals: listenAddresses(config), clock });
    this.#backstores = new Backstores(tree, config.iqnPrefix);
  }

  async start(call: PluginCall): Promise<void> {
    call.signal.throwIfAborted();
    if (this.#started) return;
    if ((await this.#tree.list('')).length === 0) await this.#loadModules(call);
    // The kernel loads its iSCSI part when its directory is made.
    await this.#tree.make('iscsi');
    // What tells no volume is not listed, so nobody would end it. It never had a session that could hold this up.
    await this.#forEachTarget(async (accessId) => {
      if ((await this.#targets.volumeOf(accessId)) !== null) return;
      await this.#end(accessId).catch((failure: unknown) => {
        this.#options.log.warn({ err: failure, accessId }, 'a target that was left half-made could not be removed');
      });
    });
    this.#started = true;
  }

  async stop(): Promise<void> {
    this.#started = false;
    await this.#forEachTarget((accessId) => this.#end(accessId));
    await this.#backstores.removeAdapters();
  }

  async export(request: ExportRequest, { signal }: PluginCall): Promise<void> {
    const { accessId, secret } = request;
    if (secret.startsWith(unset)) {
      throw new ScoriaError('not-supported', `LIO takes a secret that begins with ${unset} for none; access ${accessId} has one`);
    }
    const admitted = this.#options.config.bindInitiator ? request : { ...request, initiator: undefined };
    await this.#locks.run([accessId], async () => {
      signal.throwIfAborted();
      // An earlier process may have had other portals; its hosts lose no session by that.
      if (!(await this.#makeUnlessServed(admitted, signal))) await this.#targets.listen(accessId);
    });
  }

  async unexport(accessId: string, { signal }: PluginCall): Promise<void> {
    signal.throwIfAborted();
    await this.#end(accessId, signal);
  }

  async list({ signal }: PluginCall): Promise<readonly ExportStatus[]> {
    signal.throwIfAborted();
    const found: ExportStatus[] = [];
    await this.#forEachTarget(async (accessId) => {
      const status = await this.#targets.status(accessId);
      if (status !== null) found.push(status);
    });
    return found;
  }

  async resize(volumeId: string, { signal }: PluginCall): Promise<void> {
    signal.throwIfAborted();
    await this.#locks.run([volumeId], () => this.#backstores.resize(volumeId));
  }

  connectionInfo(request: ExportRequest): ConnectionInfo {
    const { config } = this.#options;
    const { iqnPrefix } = config;
    const user = userOf(request.accessId);
    return iscsiConnectionInfo({ iqnPrefix, portals: advertisedPortals(config), lun: 0, chap: true, user }, request);
  }

  /** Bytes are exact to a MiB. LIO counts commands of all kinds together: they are parted in the proportion of the bytes. */
  async stats({ signal }: PluginCall): Promise<readonly ExportStats[]> {
    signal.throwIfAborted();
    const counters = await this.#backstores.counters();
    return counters.map(({ volumeId, commands, readBytes, writtenBytes }) => {
      const writes = writtenBytes === 0 ? 0 : Math.ceil((commands * writtenBytes) / (readBytes + writtenBytes));
      return { volumeId, readBytes, writtenBytes, reads: readBytes === 0 ? 0 : commands - writes, writes };
    });
  }

  /** `false` when the target serves the access already. After a failure there is nothing of it. */
  async #makeUnlessServed(request: ExportRequest, signal: AbortSignal): Promise<boolean> {
    const { accessId, volumeId, device } = request;
    try {
      if (!(await this.#targets.begin(request))) {
        if (await this.#targets.serves(request)) return false;
        await this.#endInTurn(accessId);
        await this.#targets.begin(request);
      }
      await this.#locks.run([volumeId], async () => {
        signal.throwIfAborted();
        await this.#targets.complete(request, await this.#backstores.provide(volumeId, device), signal);
      });
      return true;
    } catch (error) {
      await this.#endInTurn(accessId).catch((failure: unknown) => {
        this.#options.log.warn({ err: failure, accessId }, 'an export that failed could not be removed');
      });
      throw error;
    }
  }

  async #end(accessId: string, signal?: AbortSignal): Promise<void> {
    await this.#locks.run([accessId], () => this.#endInTurn(accessId, signal));
  }

  /** @param signal - heeded until the fence begins: one that its caller has given up must not fall later. */
  async #endInTurn(accessId: string, signal?: AbortSignal): Promise<void> {
    const volumeId = await this.#targets.volumeOf(accessId);
    await this.#fences.run(() => this.#targets.fence(accessId), signal);
    if (volumeId !== null) await this.#locks.run([volumeId], () => this.#backstores.release(volumeId));
    await this.#targets.remove(accessId);
  }

  async #forEachTarget(work: (accessId: string) => Promise<void>): Promise<void> {
    const waiting = [...(await this.#targets.accessIds())];
    const worker = async (): Promise<void> => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) await work(id);
    };
    await Promise.all(Array.from({ length: together }, worker));
  }

  async #loadModules({ signal }: PluginCall): Promise<void> {
    const args = ['--all', 'target_core_mod', 'iscsi_target_mod'];
    await this.#options.exec.run({ program: 'modprobe', args, deadline: modprobeDeadline, signal });
    if ((await this.#tree.list('')).length > 0) return;
    throw new ScoriaError('transport-failed', `LIO does not show itself at ${this.#tree.root}`, {
      remedy: 'Mount configfs: mount -t configfs configfs /sys/kernel/config. Then start the service again.',
    });
  }
}
