import type { Clock, Random, RequestContext } from '@scoria/core';
import type { IdentityRoute } from './identity-route.ts';
import { IdentityService } from './identity-service.ts';
import { defaultPasswordCost, hashPassword, type PasswordCost } from './password.ts';
import { identityRoutes } from './routes/index.ts';
import { readState, writeState } from './state-file.ts';
import type { IdentityState } from './state.ts';

/** Options of {@link createLocalIdentity}. */
export interface LocalIdentityOptions {
  /** Where users, projects and roles are kept; made with mode 0600 when it is not there. One process at a time. */
  readonly file: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Milliseconds that a token is valid. Default: 12 hours. */
  readonly tokenLifetime?: number;
  /** Work for each check of a password. Default: about a tenth of a second. */
  readonly passwordCost?: PasswordCost;
}

/** The built-in Identity v3. */
export interface LocalIdentity {
  /** Password of the user `admin`, when this start has made it; it is kept nowhere in clear. */
  readonly initialPassword: string | undefined;
  /** Handlers for the server to mount below `/identity`. */
  readonly routes: readonly IdentityRoute[];
  /** Gives a user a new random password and returns it; all tokens of that user become void. `not-found` when there is no such user. */
  resetPassword(userName: string): Promise<string>;
  /** What core needs to know of the caller with this token. `not-authenticated` when the token is no good. */
  authenticate(token: string): Promise<Omit<RequestContext, 'requestId'>>;
}

/**
 * Opens the built-in identity, and makes it on the first start: roles `admin` and `member`, project `admin`, user `admin`
 * with both roles and a random password. Errors: `invalid-configuration` and `data-directory-newer` for the file.
 */
export async function createLocalIdentity(options: LocalIdentityOptions): Promise<LocalIdentity> {
  const { file, clock, random } = options;
  const passwordCost = options.passwordCost ?? defaultPasswordCost;
  let state = await readState(file);
  let initialPassword: string | undefined;
  if (!state) {
    initialPassword = randomPassword(random);
    state = await firstState(options, initialPassword, passwordCost);
    await writeState(file, state);
  }
  const service = new IdentityService(state, {
    file,
    clock,
    random,
    tokenLifetime: options.tokenLifetime ?? 12 * 3_600_000,
    passwordCost,
  });
  return {
    initialPassword,
    routes: identityRoutes.map((route) => route(service)),
    authenticate: (token) => service.authenticate(token),
    async resetPassword(userName) {
      const password = randomPassword(random);
      await service.setPassword(userName, password);
      return password;
    },
  };
}

function randomPassword(random: Random): string {
  return Buffer.from(random.bytes(18)).toString('base64url');
}

async function firstState(options: LocalIdentityOptions, password: string, cost: PasswordCost): Promise<IdentityState> {
  const id = () => options.random.uuid().replaceAll('-', '');
  const [userId, projectId, admin, member] = [id(), id(), id(), id()];
  return {
    version: 1,
    signingKey: Buffer.from(options.random.bytes(32)).toString('base64'),
    users: [
      {
        id: userId,
        name: 'admin',
        description: 'Administrator of this installation',
        email: null,
        enabled: true,
        defaultProjectId: projectId,
        password: await hashPassword(password, options.random, cost),
        passwordChangedAt: options.clock.now(),
      },
    ],
    projects: [{ id: projectId, name: 'admin', description: 'Project of the administrator', enabled: true }],
    roles: [
      { id: admin, name: 'admin' },
      { id: member, name: 'member' },
    ],
    assignments: [admin, member].map((roleId) => ({ userId, projectId, roleId })),
  };
}
