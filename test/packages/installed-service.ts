import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, dirname, join } from 'node:path';

const patience = 30_000;
/** Since this version volumes are attached by attachments that name their connector (Block Storage API v3, 3.27). */
const apiVersion = 'volume 3.27';

/** A port of loopback that is free at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => void server.close(resolve));
  if (typeof address !== 'object' || address === null) throw new Error('The system chose no port');
  return address.port;
}

/** What the Block Storage API tells of a volume or an attachment. */
type Resource = Readonly<Record<string, unknown>>;

/** The `scoria` program of a project, started as an operator would, and asked over HTTP. */
export class InstalledService {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  #output = '';
  #url = '';
  #token = '';
  #project = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (part: Buffer) => (this.#output += part.toString('utf8')));
    this.#ended = new Promise((resolve) => void child.on('close', (code) => resolve(code)));
  }

  /** Starts the program with a configuration of the project, on ports that are free, and logs in. */
  static async start(project: string, configuration: string): Promise<InstalledService> {
    const program = join(project, 'node_modules/.bin/scoria');
    const iscsi = `127.0.0.1:${await freePort()}`;
    const args = ['--config', configuration, '--data-dir', 'data', '--listen', '127.0.0.1:0', '--iscsi-listen', iscsi];
    const path = `${dirname(process.execPath)}${delimiter}${process.env.PATH ?? ''}`;
    const child = spawn(program, args, { cwd: project, env: { ...process.env, PATH: path }, stdio: ['ignore', 'pipe', 'pipe'] });
    const service = new InstalledService(child);
    try {
      service.#url = await service.#listening();
      await service.#logIn(await readFile(join(project, 'data/openrc'), 'utf8'));
      return service;
    } catch (error) {
      await service.stop();
      throw error;
    }
  }

  /** Makes a volume, waits until it is available, and tells its id and host string. */
  async create(volume: { readonly size: number }): Promise<{ readonly id: string; readonly host: string }> {
    const made = await this.#ask('POST', '/volumes', { volume });
    const { id } = made.volume ?? {};
    for (const deadline = performance.now() + patience; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const { volume: found } = await this.#ask('GET', `/volumes/${String(id)}`);
      if (found?.status === 'available') return { id: String(id), host: String(found['os-vol-host-attr:host']) };
      if (found?.status !== 'creating' || performance.now() > deadline) throw new Error(`The volume is ${String(found?.status)}`);
    }
  }

  /** Attaches a volume to a host and tells what the host would connect to. */
  async attach(volumeId: string, initiator: string): Promise<Resource> {
    const connector = { initiator, host: 'host', ip: '127.0.0.1', multipath: false };
    const body = { attachment: { volume_uuid: volumeId, instance_uuid: volumeId, connector } };
    const { attachment } = await this.#ask('POST', '/attachments', body);
    return { ...attachment };
  }

  /** Stops the program with SIGTERM, after a while by force. */
  async stop(): Promise<{ readonly code: number | null; readonly output: string }> {
    this.#child.kill('SIGTERM');
    const force = setTimeout(() => this.#child.kill('SIGKILL'), patience);
    const code = await this.#ended;
    clearTimeout(force);
    return { code, output: this.#output };
  }

  async #listening(): Promise<string> {
    for (const deadline = performance.now() + patience; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const found = /API\s+(http:\S+?)\/v3/.exec(this.#output)?.[1];
      if (found) return found;
      if (this.#child.exitCode !== null || performance.now() > deadline)
        throw new Error(`scoria does not listen:\n${this.#output}`);
    }
  }

  async #logIn(openrc: string): Promise<void> {
    const value = (name: string) => new RegExp(`^export ${name}='?([^'\\n]+)'?$`, 'm').exec(openrc)?.[1];
    const user = { name: value('OS_USERNAME'), password: value('OS_PASSWORD'), domain: { id: 'default' } };
    const project = { name: value('OS_PROJECT_NAME'), domain: { id: 'default' } };
    const response = await fetch(`${value('OS_AUTH_URL') ?? ''}/auth/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user } }, scope: { project } } }),
    });
    const body = (await response.json()) as { readonly token?: { readonly project: { readonly id: string } } };
    this.#token = response.headers.get('x-subject-token') ?? '';
    this.#project = body.token?.project.id ?? '';
    if (!response.ok || this.#token === '') throw new Error(`No token: ${response.status} ${JSON.stringify(body)}`);
  }

  async #ask(
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ readonly volume?: Resource; readonly attachment?: Resource }> {
    const response = await fetch(`${this.#url}/v3/${this.#project}${path}`, {
      method,
      headers: { 'x-auth-token': this.#token, 'content-type': 'application/json', 'openstack-api-version': apiVersion },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as { readonly volume?: Resource; readonly attachment?: Resource };
  }
}
