import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';

const patience = 30_000;

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

  /** Starts the program with a configuration of the project, on a port that the system chooses, and logs in. */
  static async start(project: string, configuration: string): Promise<InstalledService> {
    const program = join(project, 'node_modules/.bin/scoria');
    const args = ['--config', configuration, '--data-dir', 'data', '--listen', '127.0.0.1:0'];
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

  /** Makes a volume, waits until it is available, and tells its host string. */
  async createdOn(volume: { readonly size: number }): Promise<string> {
    const made = await this.#ask('POST', '/volumes', { volume });
    const { id } = made.volume ?? {};
    for (const deadline = performance.now() + patience; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
      const { volume: found } = await this.#ask('GET', `/volumes/${String(id)}`);
      if (found?.status === 'available') return String(found['os-vol-host-attr:host']);
      if (found?.status !== 'creating' || performance.now() > deadline) throw new Error(`The volume is ${String(found?.status)}`);
    }
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

  async #ask(method: string, path: string, body?: unknown): Promise<{ readonly volume?: Readonly<Record<string, unknown>> }> {
    const response = await fetch(`${this.#url}/v3/${this.#project}${path}`, {
      method,
      headers: { 'x-auth-token': this.#token, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as { readonly volume?: Readonly<Record<string, unknown>> };
  }
}
