import { unlink } from 'node:fs/promises';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { createInterface } from 'node:readline';
import { errorDataSchema, ScoriaError, withDeadline, type Clock, type Log } from '@scoria/core/device';
import { execa } from 'execa';
import { z } from 'zod';
import { ControlClient, type ControlCall } from './control-client.ts';
import {
  protocolVersion,
  type TargetSettings,
  type TargetVerb,
  type Verb,
  type VerbReply,
  type VerbRequest,
} from './messages.ts';
import { findProcess, killProcess, processEnded } from './process-identity.ts';
import { prepareSocketDirectory } from './socket-path.ts';

/** What a {@link ProcessTarget} needs. */
export interface ProcessTargetOptions {
  readonly socketPath: string;
  readonly settings: TargetSettings;
  /** The target's program. */
  readonly program: URL;
  readonly clock: Clock;
  readonly log: Log;
  /** Called with a fresh process, before calls go to it again: puts back what the one before had. */
  readonly restore: (call: CallTarget) => Promise<void>;
}

/** Calls a verb of the target. */
export type CallTarget = <V extends TargetVerb>(verb: V, body: VerbRequest<V>) => Promise<VerbReply<V>>;

/** Waits, ms. */
const startDeadline = 20_000;
const connectDeadline = 5_000;
const stopDeadline = 15_000;
const outageDeadline = 30_000;
const firstBackoff = 100;
const longestBackoff = 5_000;
/** Transfers that a slow disk may have under way at once. */
const poolThreads = '16';

const readySchema = z.discriminatedUnion('ready', [
  z.object({ ready: z.literal(true) }),
  z.object({ ready: z.literal(false), error: errorDataSchema }),
]);

const logLineSchema = z.looseObject({ level: z.enum(['info', 'warn', 'error']), message: z.string() });

/**
 * A target in a process of its own, which outlives this one: found again at its control socket, or started. When it
 * dies it is started again and gets back what it had.
 */
export class ProcessTarget {
  readonly #options: ProcessTargetOptions;
  readonly #stopped = new AbortController();
  #client: ControlClient | null = null;
  /** Settles when there is a client again. */
  #outage: Promise<void> | null = null;
  #processId = 0;

  constructor(options: ProcessTargetOptions) {
    this.#options = options;
  }

  /** Process id of the target, for tests and operators. */
  get processId(): number {
    return this.#processId;
  }

  /** Adopts a running target process or starts one. Rejects with what that process says, such as `address-in-use`. */
  async start(): Promise<void> {
    await prepareSocketDirectory(this.#options.socketPath);
    this.#watch(await this.#adoptOrSpawn());
  }

  /** Calls a verb; waits for the process if it is being started again. A body given as a function is made after that. */
  async call<V extends Verb>(
    verb: V,
    body: VerbRequest<V> | (() => VerbRequest<V>),
    call: ControlCall = {},
  ): Promise<VerbReply<V>> {
    const outage = this.#outage;
    if (outage !== null) {
      await withDeadline(
        this.#options.clock,
        outageDeadline,
        'The restart of the iSCSI target process',
        () => outage,
        call.signal,
      );
    }
    if (this.#client === null) throw new ScoriaError('transport-failed', 'The iSCSI target is not started');
    return this.#client.call(verb, typeof body === 'function' ? body() : body, call);
  }

  /** Ends the target and its process; one that does not end in time is killed. */
  async stop(): Promise<void> {
    this.#stopped.abort(new ScoriaError('transport-failed', 'The iSCSI target is being stopped'));
    await this.#outage?.catch(() => {});
    const client = this.#client;
    this.#client = null;
    if (client !== null) await this.#end(client, this.#processId);
  }

  /** Lets go of the process, which goes on: as a control plane that is killed does. */
  abandon(): void {
    this.#stopped.abort(new ScoriaError('transport-failed', 'The iSCSI target was let go'));
    this.#client?.close();
    this.#client = null;
  }

  /** Asks a process to end, and kills it when it does not. */
  async #end(client: ControlClient, processId: number): Promise<void> {
    const { clock, log } = this.#options;
    try {
      await withDeadline(clock, stopDeadline, 'The end of the iSCSI target process', async (signal) => {
        // The answer may be lost with the connection; its end is what counts.
        await client.call('shutdown', null, { signal }).catch(() => {});
        await client.closed;
      });
    } catch (error) {
      log.warn({ processId, error: ScoriaError.from(error).message }, 'the iSCSI target process is killed');
      client.close();
      if (processId > 1) kill(processId);
    }
  }

  async #adoptOrSpawn(): Promise<ControlClient> {
    const { socketPath, settings, clock, log } = this.#options;
    const found = await ControlClient.connect(socketPath, clock, connectDeadline);
    if (found !== null) {
      const greeting = await this.#greet(found).catch((error: unknown) => {
        log.warn({ error: ScoriaError.from(error).message }, 'the iSCSI target process that runs cannot be understood');
        return ScoriaError.from(error).code;
      });
      if (typeof greeting === 'object' && greeting.version === protocolVersion && greeting.settingsMatch) {
        this.#processId = greeting.processId;
        log.info({ processId: greeting.processId }, 'iSCSI target process adopted');
        return found;
      }
      const processId = typeof greeting === 'object' ? greeting.processId : 0;
      log.info({ processId }, 'iSCSI target process is replaced');
      // One that stands still would not hear the request to end either.
      if (greeting === 'deadline-exceeded') found.close();
      else await this.#end(found, processId);
      await this.#makeWay(greeting === 'deadline-exceeded' ? 0 : stopDeadline);
    } else {
      await this.#makeWay(stopDeadline);
    }
    await unlink(socketPath).catch(() => {});
    await this.#spawn(settings);
    const client = await ControlClient.connect(socketPath, clock, connectDeadline);
    if (client === null) throw new ScoriaError('transport-failed', `The iSCSI target process does not listen on ${socketPath}`);
    this.#processId = (await this.#greet(client)).processId;
    log.info({ processId: this.#processId }, 'iSCSI target process started');
    return client;
  }

  /** Sees to it that the process before is gone, which would keep the addresses. It gets `patience` ms to end by itself. */
  async #makeWay(patience: number): Promise<void> {
    const { socketPath, clock, log } = this.#options;
    const before = await findProcess(socketPath);
    if (before === null || (await processEnded(before, patience, clock))) return;
    log.warn({ processId: before.processId }, 'the iSCSI target process that does not answer is killed');
    await killProcess(before, clock);
  }

  #greet(client: ControlClient): Promise<VerbReply<'hello'>> {
    const { clock, settings } = this.#options;
    return withDeadline(clock, connectDeadline, 'The greeting of the iSCSI target process', (signal) =>
      client.call('hello', { version: protocolVersion, settings }, { signal }),
    );
  }

  async #spawn(settings: TargetSettings): Promise<void> {
    const { socketPath, program, clock } = this.#options;
    const file = fileURLToPath(program);
    const conditions = file.endsWith('.ts') ? ['--conditions=@scoria/source'] : [];
    // Detached, with nothing of our environment: it has to survive us, and has no use for what may be secret there.
    const subprocess = execa(process.execPath, [...conditions, file], {
      detached: true,
      cleanup: false,
      extendEnv: false,
      env: { UV_THREADPOOL_SIZE: poolThreads },
      buffer: false,
      reject: false,
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
    });
    subprocess.nodeChildProcess.unref();
    if (subprocess.stderr instanceof Socket) subprocess.stderr.unref();
    this.#passLog(subprocess.stderr);
    subprocess.stdin.on('error', () => {});
    subprocess.stdin.end(`${JSON.stringify({ socketPath, settings })}\n`);
    try {
      await withDeadline(clock, startDeadline, 'The start of the iSCSI target process', async () => {
        for await (const line of createInterface({ input: subprocess.stdout })) {
          const told = readySchema.safeParse(parseJson(line));
          if (!told.success) continue;
          if (told.data.ready) return;
          throw ScoriaError.fromData(told.data.error);
        }
        throw new ScoriaError('transport-failed', 'The iSCSI target process ended before it was ready');
      });
    } catch (error) {
      subprocess.kill('SIGKILL');
      throw error;
    } finally {
      subprocess.stdout.destroy();
    }
  }

  #passLog(stream: NodeJS.ReadableStream): void {
    const { log } = this.#options;
    createInterface({ input: stream }).on('line', (line) => {
      const parsed = logLineSchema.safeParse(parseJson(line));
      if (!parsed.success) return log.warn({ line: line.slice(0, 1000) }, 'iSCSI target process');
      const { level, message, time: _time, ...fields } = parsed.data;
      log[level](fields, message);
    });
  }

  #watch(client: ControlClient): void {
    this.#client = client;
    void client.closed.then(() => {
      if (this.#stopped.signal.aborted || this.#client !== client) return;
      this.#client = null;
      this.#options.log.error({ processId: this.#processId }, 'the iSCSI target process went away; it is started again');
      this.#outage = this.#recover();
      this.#outage.catch(() => {});
    });
  }

  async #recover(): Promise<void> {
    const { clock, log, restore } = this.#options;
    const { signal } = this.#stopped;
    for (let backoff = firstBackoff; ; backoff = Math.min(2 * backoff, longestBackoff)) {
      try {
        signal.throwIfAborted();
        const client = await this.#adoptOrSpawn();
        try {
          await restore((verb, body) => client.call(verb, body));
        } catch (error) {
          client.close();
          throw error;
        }
        this.#watch(client);
        this.#outage = null;
        return;
      } catch (error) {
        signal.throwIfAborted();
        log.error(
          { error: ScoriaError.from(error).message, retryInMs: backoff },
          'the iSCSI target process could not be started',
        );
        await clock.sleep(backoff, signal);
      }
    }
  }
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function kill(processId: number): void {
  try {
    process.kill(processId, 'SIGKILL');
  } catch {}
}
