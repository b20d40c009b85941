import type { CallBase } from '../../http/route.ts';

/** Tells the caller, in a header that other clients do not mind, where to follow the work that was begun. */
export function announceOperation(call: Pick<CallBase, 'headers'>, operationId: string): void {
  call.headers['X-Scoria-Operation-Id'] = operationId;
}
