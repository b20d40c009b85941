import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemRandom, type Clock } from '@scoria/core';
import { createLocalIdentity, type IdentityReply, type LocalIdentity, type LocalIdentityOptions } from '../src/index.ts';

/** A clock that stands still until it is moved, and remembers how long others slept. */
export class ManualClock implements Clock {
  time = 1_800_000_000_000;
  readonly slept: number[] = [];

  now() {
    return this.time;
  }
  monotonic() {
    return this.time;
  }
  async sleep(ms: number) {
    this.slept.push(ms);
  }
  timer() {
    return { [Symbol.dispose]: () => {} };
  }
}

/** What tests look at in an answer. */
export type Body = any;

/** An identity in a directory of its own, and ways to call it. */
export class TestIdentity {
  readonly directory: string;
  readonly clock: ManualClock;
  identity: LocalIdentity;
  password: string;

  private constructor(directory: string, clock: ManualClock, identity: LocalIdentity) {
    this.directory = directory;
    this.clock = clock;
    this.identity = identity;
    this.password = identity.initialPassword ?? '';
  }

  static async open(): Promise<TestIdentity> {
    const directory = await mkdtemp(join(tmpdir(), 'scoria-identity-'));
    const clock = new ManualClock();
    return new TestIdentity(directory, clock, await createLocalIdentity(TestIdentity.#options(directory, clock)));
  }

  static #options(directory: string, clock: Clock): LocalIdentityOptions {
    return {
      file: join(directory, 'identity.json'),
      clock,
      random: systemRandom,
      passwordCost: { cost: 2, blockSize: 1, parallelization: 1 },
    };
  }

  get file(): string {
    return join(this.directory, 'identity.json');
  }

  /** Opens the same file again, as after a restart. */
  async reopen(): Promise<void> {
    this.identity = await createLocalIdentity(TestIdentity.#options(this.directory, this.clock));
  }

  remove(): Promise<void> {
    return rm(this.directory, { recursive: true });
  }

  /** Calls a route by its method and real path. Refusals are thrown. */
  async call(
    method: string,
    target: string,
    options: { token?: string; subject?: string; body?: unknown } = {},
  ): Promise<IdentityReply & { readonly body?: Body }> {
    const url = new URL(target, 'http://x');
    for (const route of this.identity.routes) {
      const pattern = new RegExp(`^${route.path.replaceAll(/:(\w+)/g, '(?<$1>[^/]+)')}$`);
      const match = route.method === method ? pattern.exec(url.pathname) : null;
      if (!match) continue;
      return route.handle({
        params: { ...match.groups },
        query: Object.fromEntries(url.searchParams),
        body: options.body,
        token: options.token,
        subjectToken: options.subject,
        baseUrl: 'http://storage.test',
      });
    }
    throw new Error(`no route ${method} ${target}`);
  }

  /** Logs in; returns the token and its description. */
  async logIn(user: object = { name: 'admin', domain: { name: 'Default' }, password: this.password }, scope?: unknown) {
    const reply = await this.call('POST', '/v3/auth/tokens', {
      body: { auth: { identity: { methods: ['password'], password: { user } }, ...(scope !== undefined && { scope }) } },
    });
    return { status: reply.status, token: reply.headers?.['X-Subject-Token'] ?? '', body: reply.body.token };
  }
}
