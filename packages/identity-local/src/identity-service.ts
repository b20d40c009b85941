import { ScoriaError, type Clock, type Random, type RequestContext } from '@scoria/core';
import { LoginThrottle } from './login-throttle.ts';
import { hashPassword, maxPasswordLength, verifyPassword, type PasswordCost, type PasswordHash } from './password.ts';
import { writeState } from './state-file.ts';
import { defaultDomain, type IdentityState, type Project, type Role, type User } from './state.ts';
import { readToken, signToken, type TokenPayload } from './token.ts';

/** Whoever sent a request, as the token and the present state of users and roles have it. */
export interface Caller {
  readonly user: User;
  /** `null` for a token without scope. */
  readonly project: Project | null;
  readonly roles: readonly Role[];
  readonly isAdmin: boolean;
  readonly token: TokenPayload;
}

/** A thing named by its id, or by its name within a domain. */
export interface Reference {
  readonly id?: string | undefined;
  readonly name?: string | undefined;
  readonly domain?: { readonly id?: string | undefined; readonly name?: string | undefined } | undefined;
}

/** What {@link IdentityService} stands on. */
export interface IdentityServiceOptions {
  readonly file: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds that a token is valid. */
  readonly tokenLifetime: number;
  readonly passwordCost: PasswordCost;
}

const maxRevoked = 100_000;

/** Users, projects, roles and tokens of one machine. Changes are on disk before they are answered. */
export class IdentityService {
  readonly #options: IdentityServiceOptions;
  readonly #throttle: LoginThrottle;
  readonly #signingKey: Uint8Array;
  /** Ids of revoked tokens, with the time after which they are void anyway. Forgotten by a restart. */
  readonly #revoked = new Map<string, number>();
  #state: IdentityState;
  #writing: Promise<unknown> = Promise.resolve();
  #decoy: Promise<PasswordHash> | undefined;

  constructor(state: IdentityState, options: IdentityServiceOptions) {
    this.#state = state;
    this.#options = options;
    this.#throttle = new LoginThrottle(options.clock);
    this.#signingKey = Buffer.from(state.signingKey, 'base64');
  }

  /** The present state; not to be changed. */
  get state(): IdentityState {
    return this.#state;
  }

  /** A new id, in Keystone's form: 32 hexadecimal digits. */
  newId(): string {
    return this.#options.random.uuid().replaceAll('-', '');
  }

  /** Hashes a password with a new salt. */
  hash(password: string): Promise<PasswordHash> {
    return hashPassword(password, this.#options.random, this.#options.passwordCost);
  }

  /** Milliseconds since 1970 UTC. */
  now(): number {
    return this.#options.clock.now();
  }

  /** Carries out a change on a copy of the state, writes it and puts it in force. One change at a time; if `edit` throws, nothing changes. */
  change<T>(edit: (state: IdentityState) => T): Promise<T> {
    const work = async () => {
      const next = structuredClone(this.#state);
      const result = edit(next);
      await writeState(this.#options.file, next);
      this.#state = next;
      return result;
    };
    const done = this.#writing.then(work, work);
    this.#writing = done;
    return done;
  }

  /** Checks a name and password. `not-authenticated`, without saying which was wrong, when they do not belong together. */
  async logIn(user: Reference, password: string): Promise<User> {
    const refused = () => new ScoriaError('not-authenticated', 'The user name or the password is wrong');
    if (password.length > maxPasswordLength) throw refused();
    const found = this.#find(this.#state.users, user);
    // An unknown name takes the same time as a wrong password.
    const stored = found?.password ?? (await (this.#decoy ??= this.hash(this.newId())));
    const key = found?.id ?? `unknown ${(user.id ?? user.name ?? '').slice(0, 255)}`;
    const passed = await this.#throttle.attempt(key, async () => (await verifyPassword(password, stored)) && found !== undefined);
    if (!passed || !found?.enabled || !found.password) throw refused();
    return found;
  }

  /**
   * Makes a token. `not-authenticated` when the user has no role in the project asked for; without a project, the
   * user's default project is taken, or the first one with a role; without any of them the token has no scope.
   *
   * @param expiresAt - not later than this; a token got for a token lives no longer than that one.
   */
  issue(
    user: User,
    scope: Reference | 'unscoped' | undefined,
    methods: readonly string[],
    expiresAt?: number,
  ): { token: string; caller: Caller } {
    const project = this.#scope(user, scope);
    const now = this.now();
    const payload: TokenPayload = {
      id: Buffer.from(this.#options.random.bytes(16)).toString('base64url'),
      user: user.id,
      project: project?.id ?? null,
      methods: [...methods],
      issuedAt: now,
      expiresAt: Math.min(now + this.#options.tokenLifetime, expiresAt ?? Number.POSITIVE_INFINITY),
    };
    return { token: signToken(payload, this.#signingKey), caller: this.#caller(payload) };
  }

  /** Who a token stands for. `not-authenticated` when it is missing, not ours, expired or revoked, or when its user or project is gone. */
  callerOf(token: string | undefined): Caller {
    if (token === undefined || token === '') throw new ScoriaError('not-authenticated', 'The request has no token');
    return this.#caller(readToken(token, this.#signingKey, this.now()));
  }

  /** Makes a token void from now on. */
  revoke(token: TokenPayload): void {
    const now = this.now();
    if (this.#revoked.size >= maxRevoked) {
      for (const [id, until] of this.#revoked) if (until <= now) this.#revoked.delete(id);
      if (this.#revoked.size >= maxRevoked) {
        throw new ScoriaError('backend-unavailable', 'Too many tokens are revoked', { remedy: 'Let some of them expire.' });
      }
    }
    this.#revoked.set(token.id, token.expiresAt);
  }

  /** What core needs to know of the caller with this token. `not-authenticated` as {@link callerOf}, and for a token without a project. */
  async authenticate(token: string): Promise<Omit<RequestContext, 'requestId'>> {
    const caller = this.callerOf(token);
    if (!caller.project) throw new ScoriaError('not-authenticated', 'The token is not for a project');
    return {
      userId: caller.user.id,
      projectId: caller.project.id,
      roles: caller.roles.map((role) => role.name),
      isAdmin: caller.isAdmin,
    };
  }

  /** Gives a user another password; tokens issued before become void. `not-found` when there is no such user. */
  async setPassword(userIdOrName: string, password: string): Promise<void> {
    const hashed = await this.hash(password);
    await this.change((state) => {
      const user = state.users.find((each) => each.id === userIdOrName) ?? state.users.find((each) => each.name === userIdOrName);
      if (!user) throw new ScoriaError('not-found', `User ${userIdOrName} could not be found`);
      user.password = hashed;
      user.passwordChangedAt = this.now();
    });
  }

  /** Roles of a user in a project. */
  rolesOf(userId: string, projectId: string): readonly Role[] {
    const ids = this.#state.assignments.filter((a) => a.userId === userId && a.projectId === projectId).map((a) => a.roleId);
    return this.#state.roles.filter((role) => ids.includes(role.id));
  }

  /** Projects in which a user has a role. */
  projectsOf(userId: string): readonly Project[] {
    const ids = this.#state.assignments.filter((a) => a.userId === userId).map((a) => a.projectId);
    return this.#state.projects.filter((project) => ids.includes(project.id));
  }

  #caller(token: TokenPayload): Caller {
    const refused = () => new ScoriaError('not-authenticated', 'The token is no longer valid');
    const user = this.#state.users.find((each) => each.id === token.user);
    if (!user?.enabled || token.issuedAt < user.passwordChangedAt || this.#revoked.has(token.id)) throw refused();
    if (token.project === null) return { user, project: null, roles: [], isAdmin: false, token };
    const project = this.#state.projects.find((each) => each.id === token.project);
    const roles = project ? this.rolesOf(user.id, project.id) : [];
    if (!project?.enabled || roles.length === 0) throw refused();
    return { user, project, roles, isAdmin: roles.some((role) => role.name === 'admin'), token };
  }

  #scope(user: User, scope: Reference | 'unscoped' | undefined): Project | null {
    if (scope === 'unscoped') return null;
    if (scope !== undefined) {
      const project = this.#find(this.#state.projects, scope);
      if (project?.enabled && this.rolesOf(user.id, project.id).length > 0) return project;
      throw new ScoriaError('not-authenticated', `User ${user.name} has no role in the project asked for, or it is disabled`);
    }
    const projects = this.projectsOf(user.id).filter((project) => project.enabled);
    return projects.find((project) => project.id === user.defaultProjectId) ?? projects[0] ?? null;
  }

  #find<T extends { readonly id: string; readonly name: string }>(things: readonly T[], reference: Reference): T | undefined {
    if (reference.id !== undefined) return things.find((thing) => thing.id === reference.id);
    const { domain } = reference;
    const inDomain = !domain || domain.id === defaultDomain.id || domain.name?.toLowerCase() === defaultDomain.name.toLowerCase();
    return inDomain ? things.find((thing) => thing.name === reference.name) : undefined;
  }
}
