import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ScoriaError, type Exec, type PluginCall } from '@scoria/core';
import { parseAddress } from '../protocol/listen-address.ts';
import { iscsiadm, status } from './iscsiadm.ts';

/** A target at one of its portals. */
export interface Node {
  readonly target: string;
  /** `host:port`, with brackets for an IPv6 address. */
  readonly portal: string;
}

/** CHAP of a login. */
export interface Credentials {
  readonly user: string;
  readonly secret: string;
}

/**
 * open-iscsi's data base of nodes and what is done with it: iscsiadm makes, logs in to and deletes records; their settings
 * are written into the record itself, because an argument of a program can be read by everybody on the host.
 */
export class NodeRecords {
  readonly #exec: Exec;
  readonly #directory: string;

  /** @param directory - where open-iscsi keeps its records, `/etc/iscsi` on Debian. */
  constructor(exec: Exec, directory: string) {
    this.#exec = exec;
    this.#directory = join(directory, 'nodes');
  }

  /** Makes a record that iscsid does not log in to by itself. A repeat writes it anew. */
  async add(node: Node, credentials: Credentials | null, call: PluginCall): Promise<void> {
    await this.#admin(node, ['--op', 'new'], [status.ok], call);
    const settings = new Map([
      ['node.startup', 'manual'],
      // iscsid would try for minutes; whoever wants the volume tries again.
      ['node.session.initial_login_retry_max', '1'],
      ['node.conn[0].timeo.login_timeout', '10'],
      ['node.session.auth.authmethod', credentials === null ? 'None' : 'CHAP'],
      ...(credentials === null
        ? []
        : ([
            ['node.session.auth.username', credentials.user],
            ['node.session.auth.password', credentials.secret],
          ] as const)),
    ]);
    const paths = await this.#recordsOf(node);
    if (paths.length === 0) {
      throw new ScoriaError(
        'transport-failed',
        `open-iscsi has no record of ${node.target} at ${node.portal} where it should be`,
      );
    }
    for (const path of paths) {
      const lines = (await readFile(path, 'utf8')).split('\n').filter((line) => !settings.has(line.split(' = ')[0] ?? ''));
      // Settings stand between a first and a last comment.
      lines.splice(1, 0, ...Array.from(settings, ([name, value]) => `${name} = ${value}`));
      const text = Buffer.from(lines.join('\n'));
      // In one call and over the old text: iscsiadm neither replaces nor deletes a record that is empty or half there.
      await writeFile(path, text, { flag: 'r+' });
      await truncate(path, text.length);
    }
  }

  /** Logs in; one session a node at most. `not-permitted` when the target refuses the secret, else `transport-failed`. */
  async login(node: Node, call: PluginCall): Promise<void> {
    const accepts = [status.ok, status.sessionExists, status.authenticationFailed];
    const exitCode = await this.#admin(node, ['--login'], accepts, call);
    if (exitCode === status.authenticationFailed) {
      throw new ScoriaError('not-permitted', `Target ${node.target} at ${node.portal} refuses the secret of this access`);
    }
  }

  /** Logs out of a target at all its portals. Succeeds when there is no session. */
  async logout(target: string, call: PluginCall): Promise<void> {
    await this.#admin({ target }, ['--logout'], [status.ok, status.notFound, status.nothingFound], call);
  }

  /** Ends a session of which there is no record, by its number. */
  async endSession(id: string, call: PluginCall): Promise<void> {
    await this.#run(['--mode', 'session', '--sid', id, '--logout'], [status.ok, status.notFound, status.nothingFound], call);
  }

  /** Forgets a target. Succeeds when it is not known. */
  async remove(target: string, call: PluginCall): Promise<void> {
    await this.#admin({ target }, ['--op', 'delete'], [status.ok, status.nothingFound], call);
    // Records that iscsiadm cannot read.
    await rm(join(this.#directory, target), { recursive: true, force: true });
  }

  /** Names of the targets that there are records of. */
  async targets(): Promise<readonly string[]> {
    return readdir(this.#directory).catch(() => []);
  }

  #admin(node: Partial<Node>, args: readonly string[], accepts: readonly number[], call: PluginCall): Promise<number> {
    const { target = '', portal } = node;
    const where = ['--mode', 'node', '--targetname', target, ...(portal === undefined ? [] : ['--portal', portal])];
    return this.#run([...where, ...args], accepts, call);
  }

  async #run(args: readonly string[], accepts: readonly number[], call: PluginCall): Promise<number> {
    return (await iscsiadm(this.#exec, args, accepts, call)).exitCode;
  }

  /** The files of a node: `nodes/TARGET/HOST,PORT[,GROUP]`, each a record or a folder with one for each interface. */
  async #recordsOf({ target, portal }: Node): Promise<readonly string[]> {
    const address = parseAddress(portal);
    const prefix = `${address?.host},${address?.port}`;
    const folder = join(this.#directory, target);
    const found = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    const paths = found.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    return paths.filter((path) => path.slice(folder.length + 1).startsWith(prefix));
  }
}
