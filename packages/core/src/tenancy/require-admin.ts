import { ScoriaError } from '../error/scoria-error.ts';
import type { RequestContext } from './request-context.ts';

/** Throws `not-permitted` unless the caller is an administrator. `what` completes "Only an administrator may …". */
export function requireAdmin(context: RequestContext, what: string): void {
  if (!context.isAdmin) throw new ScoriaError('not-permitted', `Only an administrator may ${what}.`);
}
