import type { RequestContext } from '@scoria/core';

/** Finds out who sent a request. The built-in identity is one; Keystone can be another. */
export interface Authenticator {
  /** Who the token stands for. `not-authenticated` when it is no good. */
  authenticate(token: string): Promise<Omit<RequestContext, 'requestId'>>;
}
