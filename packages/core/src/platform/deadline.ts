import { ScoriaError } from '../error/scoria-error.ts';
import type { Clock } from './clock.ts';

/**
 * Runs `work` with a signal that aborts after `ms` milliseconds or with `outer`, whichever is first. Rejects with
 * `deadline-exceeded` as soon as the time is over, even if `work` ignores its signal.
 *
 * @param what - names the work in the error.
 */
export async function withDeadline<T>(
  clock: Clock,
  ms: number,
  what: string,
  work: (signal: AbortSignal) => Promise<T>,
  outer?: AbortSignal,
): Promise<T> {
  const controller = new AbortController();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = (reason: unknown) => {
    controller.abort(reason);
    reject(reason);
  };
  const onOuter = () => stop(outer?.reason);
  if (outer?.aborted) throw outer.reason;
  outer?.addEventListener('abort', onOuter, { once: true });
  using _timer = clock.timer(ms, () => stop(new ScoriaError('deadline-exceeded', `${what} did not end within ${ms} ms`)));
  try {
    return await Promise.race([work(controller.signal), aborted]);
  } finally {
    outer?.removeEventListener('abort', onOuter);
  }
}
