import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { BlockStorageApi } from './block-storage-api.ts';
import { until } from './polling.ts';
import { freePort, isAlive, killNow, listenerOn } from './processes.ts';
import { run, systemEnvironment, type Finished } from './programs.ts';

const program = join(import.meta.dirname, '../../packages/server/dist/main.js');
/** Milliseconds until a service that starts has to answer, and one that stops has to be gone. */
const startDeadline = 90_000;
const stopDeadline = 30_000;

/** Whose name a client of OpenStack goes by. */
export interface Caller {
  readonly user: string;
  readonly password: string;
  readonly project: string;
}

/** How to start a service. */
export interface ServiceOptions {
  /** Where the data directory is made. Default: the temporary directory. */
  readonly parentDirectory?: string;
  /** Text of the configuration; its transport `iscsi` gets the port. Default: the built-in one. */
  readonly configuration?: string;
}

/** The built service in processes of its own, on free ports, with a data directory that goes away at the end. */
export class Service {
  readonly directory: string;
  readonly port: number;
  readonly iscsiPort: number;
  #child: ChildProcess | undefined;
  #variables: Readonly<Record<string, string>> = {};
  #api: BlockStorageApi | undefined;
  readonly #configured: boolean;
  readonly #onExit = () => this.#killAtExit();
  /** The last process that listened as the target, for the end of this process. */
  #target: number | undefined;

  private constructor(directory: string, port: number, iscsiPort: number, configured: boolean) {
    this.#configured = configured;
    this.directory = directory;
    this.port = port;
    this.iscsiPort = iscsiPort;
    process.once('exit', this.#onExit);
  }

  static async start({ parentDirectory = tmpdir(), configuration }: ServiceOptions = {}): Promise<Service> {
    const parent = await mkdtemp(join(parentDirectory, 'scoria-system-'));
    const service = new Service(join(parent, 'data'), await freePort(), await freePort(), configuration !== undefined);
    try {
      if (configuration !== undefined) await writeFile(service.#configurationFile, configuration);
      await service.start();
      return service;
    } catch (error) {
      await service.end();
      throw error;
    }
  }

  get #configurationFile(): string {
    return join(this.directory, '../configuration.yaml');
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The administrator over plain HTTP. */
  get api(): BlockStorageApi {
    if (!this.#api) throw new Error('The service is not started');
    return this.#api;
  }

  /** Starts the service on its data directory; done when it has said that it serves. */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [
        '--disable-warning=ExperimentalWarning',
        program,
        '--check-responses',
        ...['--data-dir', this.directory],
        ...(this.#configured ? ['--config', this.#configurationFile] : []),
        ...['--listen', `127.0.0.1:${this.port}`],
        ...['--iscsi-listen', `127.0.0.1:${this.iscsiPort}`],
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#child = child;
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
    }
    await until(
      'the greeting of the service',
      () => {
        if (child.exitCode !== null || child.signalCode !== null) return 'ended' as const;
        return said.includes('is serving block storage') ? ('serving' as const) : undefined;
      },
      startDeadline,
    ).then((state) => {
      if (state === 'ended') throw new Error(`The service ended instead of serving. It said:\n${said}`);
    });
    this.#variables = readOpenrc(await readFile(join(this.directory, 'openrc'), 'utf8'));
    this.#target = await listenerOn(this.iscsiPort);
    this.#api = await this.login();
  }

  /** Logs in over plain HTTP; without a caller as the administrator. */
  login(caller?: Caller): Promise<BlockStorageApi> {
    return BlockStorageApi.login({
      url: this.url,
      user: caller?.user ?? this.#variables['OS_USERNAME'] ?? '',
      password: caller?.password ?? this.#variables['OS_PASSWORD'] ?? '',
      project: caller?.project ?? this.#variables['OS_PROJECT_NAME'] ?? '',
    });
  }

  /** Runs Debian's `cinder`. */
  cinder(args: readonly string[], caller?: Caller): Promise<Finished> {
    return run('/usr/bin/cinder', args, { env: this.#environment(caller) });
  }

  /** Runs Debian's `openstack`. */
  openstack(args: readonly string[], caller?: Caller): Promise<Finished> {
    return run('/usr/bin/openstack', args, { env: this.#environment(caller) });
  }

  /** Runs `openstack … -f json` and returns what it printed, read. */
  async openstackJson(args: readonly string[], caller?: Caller): Promise<unknown> {
    const { code, stdout, stderr } = await this.openstack([...args, '-f', 'json'], caller);
    if (code !== 0) throw new Error(`openstack ${args.join(' ')} ended with ${code}: ${stderr}`);
    return JSON.parse(stdout);
  }

  /** `kill -9` of the control plane. The target process is another one and goes on. */
  async killControlPlane(): Promise<void> {
    const pid = this.#child?.pid;
    if (pid !== undefined) await killNow(pid);
  }

  /** Process id of the target: whoever listens on the iSCSI port. */
  async targetProcess(): Promise<number> {
    return until('a target process', () => listenerOn(this.iscsiPort));
  }

  /** `kill -9` of the target process, found by its port. Returns its id. */
  async killTarget(): Promise<number> {
    const pid = await this.targetProcess();
    if (pid === this.#child?.pid) throw new Error('The target runs in the process of the control plane');
    await killNow(pid);
    return pid;
  }

  /** Stops as an operator does: SIGTERM, and everything has to be gone in time, the target process too. Returns the milliseconds it took. */
  async stop(): Promise<number> {
    const child = this.#child;
    const target = await listenerOn(this.iscsiPort);
    const begin = performance.now();
    child?.kill('SIGTERM');
    await until(
      'the end of the service after SIGTERM',
      async () => {
        const running = child?.pid !== undefined && (await isAlive(child.pid));
        return running || (target !== undefined && (await isAlive(target))) ? undefined : true;
      },
      stopDeadline,
    );
    return performance.now() - begin;
  }

  /** Ends everything, however it stands, and removes the data. Fails when the service left a process behind. */
  async end(): Promise<void> {
    process.off('exit', this.#onExit);
    try {
      const pid = this.#child?.pid;
      if (pid !== undefined && (await isAlive(pid))) await this.stop();
    } finally {
      await this.killControlPlane();
      const left = await listenerOn(this.iscsiPort);
      if (left !== undefined) await killNow(left);
      await rm(join(this.directory, '..'), { recursive: true, force: true });
    }
  }

  /** Runs a query on the service's database, which may be in use. */
  query(sql: string): Record<string, unknown>[] {
    const database = new DatabaseSync(join(this.directory, 'scoria.db'), { readOnly: true });
    try {
      return database.prepare(sql).all();
    } finally {
      database.close();
    }
  }

  /** Files of volumes and snapshots on both backends, as `backend/kind/placement id`; also what is half-made. */
  async files(): Promise<string[]> {
    const found: string[] = [];
    for (const backend of ['file-1', 'file-2']) {
      for (const kind of ['volumes', 'snapshots']) {
        const names = await readdir(join(this.directory, 'backends', backend, kind));
        found.push(...names.map((name) => `${backend}/${kind}/${name}`));
      }
    }
    return found.toSorted();
  }

  /** The log, one object a line. */
  async log(): Promise<readonly Record<string, unknown>[]> {
    const text = await readFile(join(this.directory, 'scoria.log'), 'utf8');
    return text.split('\n').flatMap((line) => {
      try {
        return [JSON.parse(line) as Record<string, unknown>];
      } catch {
        return [];
      }
    });
  }

  #environment(caller?: Caller): NodeJS.ProcessEnv {
    return systemEnvironment({
      ...this.#variables,
      ...(caller && { OS_USERNAME: caller.user, OS_PASSWORD: caller.password, OS_PROJECT_NAME: caller.project }),
    });
  }

  /** The last resort when this process ends before its tests do. */
  #killAtExit(): void {
    for (const pid of [this.#child?.pid, this.#target]) {
      try {
        if (pid !== undefined) process.kill(pid, 'SIGKILL');
      } catch {}
    }
  }
}

/** Variables of an openrc file, whose lines are `export NAME='value'`. */
function readOpenrc(text: string): Record<string, string> {
  const lines = text.matchAll(/^export (\w+)='((?:[^']|'\\'')*)'$/gm);
  return Object.fromEntries([...lines].map(([, name = '', value = '']) => [name, value.replaceAll(`'\\''`, `'`)]));
}
