import { z } from 'zod';
import type { Caller, Service } from './service.ts';

/** Cells of the tables that `cinder` prints, one array a line; the first is the heading. Empty when there is no table. */
function cells(text: string): string[][] {
  const lines = text.split('\n').filter((line) => line.startsWith('|'));
  return lines.map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** Rows of a table that lists things, by their headings. */
export function rowsOf(text: string): Record<string, string>[] {
  const [heading = [], ...rows] = cells(text);
  return rows.map((row) => Object.fromEntries(row.map((cell, index) => [heading[index] ?? '', cell])));
}

/** Properties of a table that shows one thing. */
export function propertiesOf(text: string): Record<string, string> {
  return Object.fromEntries(cells(text).map(([name = '', value = '']) => [name, value]));
}

/** Calls of both clients for one user in one project. A call that fails is an error, unless it is meant to. */
export class Clients {
  readonly #service: Service;
  readonly caller: Caller | undefined;

  /** Without a caller the administrator. */
  constructor(service: Service, caller?: Caller) {
    this.#service = service;
    this.caller = caller;
  }

  /** Runs `cinder` and returns what it printed. */
  async cinder(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#service.cinder(args, this.caller);
    if (code !== 0) throw new Error(`cinder ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Runs `cinder`, which has to fail, and returns what it said of it. */
  async cinderFails(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#service.cinder(args, this.caller);
    if (code === 0) throw new Error(`cinder ${args.join(' ')} did not fail: ${stdout}`);
    // What befell each of several things goes to standard output.
    return stdout + stderr;
  }

  /** Runs `openstack` and returns what it printed. */
  async openstack(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#service.openstack(args, this.caller);
    if (code !== 0) throw new Error(`openstack ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** Runs `openstack`, which has to fail, and returns what it said of it. */
  async openstackFails(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#service.openstack(args, this.caller);
    if (code === 0) throw new Error(`openstack ${args.join(' ')} did not fail: ${stdout}`);
    return stderr;
  }

  /** Runs an `openstack` command that shows one thing. */
  async show(...args: readonly string[]): Promise<Record<string, unknown>> {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(await this.openstack(...args, '-f', 'json')));
  }

  /** Runs an `openstack` command that lists things. */
  async list(...args: readonly string[]): Promise<Record<string, unknown>[]> {
    return z.array(z.record(z.string(), z.unknown())).parse(JSON.parse(await this.openstack(...args, '-f', 'json')));
  }
}

/** Makes a project with one member through the built-in identity, as an administrator does. */
export async function newMember(service: Service, name: string): Promise<Clients> {
  const admin = new Clients(service);
  const password = `secret of ${name}`;
  await Promise.all([
    admin.openstack('project', 'create', `${name}-project`),
    admin.openstack('user', 'create', '--password', password, name),
  ]);
  await admin.openstack('role', 'add', '--project', `${name}-project`, '--user', name, 'member');
  return new Clients(service, { user: name, password, project: `${name}-project` });
}
