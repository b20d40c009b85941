import type { z } from 'zod';
import { ScoriaError, isErrorCode } from '../error/scoria-error.ts';
import type { ErrorCode } from '../error/error-codes.ts';
import type { Clock } from '../platform/clock.ts';
import type { Log } from '../platform/log.ts';
import type { PluginCall } from '../volume/driver.ts';
import { FailureLog } from './failure-log.ts';
import { ObjectLocks } from './object-locks.ts';

/** How one verb of a plug-in is guarded. */
export interface VerbRule {
  /** Milliseconds without an end or a sign of progress after which the verb is taken as hanging. */
  readonly patience: number;
  /** Ids of the objects that nobody else may touch meanwhile; the first is the one that the fencing token belongs to. */
  readonly objects: readonly string[];
}

const rememberedFences = 100_000;
/** Faults that are told of one answer. */
const toldFaults = 3;

/**
 * What core does around every call to a plug-in, whatever its kind: one call at a time per object, tokens of old
 * leases refused, patience that ends, foreign errors given a code, failures logged.
 */
export class Guard {
  readonly #locks = new ObjectLocks();
  readonly #fences = new Map<string, number>();
  readonly #failures: FailureLog;
  readonly #name: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #fallback: ErrorCode;

  /** @param fallback - code of errors that the plug-in throws without one. */
  constructor(name: string, clock: Clock, log: Log, fallback: ErrorCode) {
    this.#name = name;
    this.#clock = clock;
    this.#log = log;
    this.#failures = new FailureLog(log);
    this.#fallback = fallback;
  }

  /** Calls `work` under a rule. Rejects as soon as patience or the outer signal ends, while the object stays locked until `work` has settled. */
  async call<T>(verb: string, rule: VerbRule, call: PluginCall, work: (call: PluginCall) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const { promise: given, resolve, reject } = Promise.withResolvers<T>();
    const begin = this.#clock.monotonic();
    const stop = (reason: unknown) => {
      controller.abort(reason);
      reject(reason);
    };
    let heard = begin;
    let timer: Disposable | undefined;
    const watch = () => {
      const left = rule.patience - (this.#clock.monotonic() - heard);
      if (left <= 0) stop(new ScoriaError('deadline-exceeded', `${this.#name}: ${verb} gave no sign for ${rule.patience} ms`));
      else timer = this.#clock.timer(left, watch);
    };
    const onAbort = () => stop(call.signal.reason);
    if (call.signal.aborted) throw call.signal.reason;
    call.signal.addEventListener('abort', onAbort, { once: true });
    watch();
    this.#locks
      .run(rule.objects, async () => {
        if (controller.signal.aborted) throw controller.signal.reason;
        this.#fence(verb, rule, call);
        return work({
          signal: controller.signal,
          fence: call.fence,
          progress: (done, total) => {
            heard = this.#clock.monotonic();
            call.progress(done, total);
          },
        });
      })
      .then(resolve, reject);
    const attempt = { work: `${this.#name}: ${verb}`, objects: rule.objects };
    try {
      const result = await given;
      this.#failures.succeeded(attempt);
      return result;
    } catch (error) {
      const failure = this.coded(verb, error);
      if (failure.code !== 'cancelled') this.#failures.failed(attempt, failure);
      throw failure;
    } finally {
      timer?.[Symbol.dispose]();
      call.signal.removeEventListener('abort', onAbort);
      this.#log.debug({ verb, ms: Math.round(this.#clock.monotonic() - begin) }, this.#name);
    }
  }

  #fence(verb: string, rule: VerbRule, call: PluginCall): void {
    const object = rule.objects[0];
    if (object === undefined || call.fence === 0) return;
    const seen = this.#fences.get(object) ?? 0;
    if (call.fence < seen) {
      throw new ScoriaError('stale-fence', `${this.#name}: ${verb} of ${object} came with token ${call.fence} after ${seen}`);
    }
    this.#fences.delete(object);
    this.#fences.set(object, call.fence);
    // The oldest is forgotten: its operation is long over.
    if (this.#fences.size > rememberedFences) for (const oldest of this.#fences.keys()) return void this.#fences.delete(oldest);
  }

  /** What the plug-in answered, when it has the shape that its type promises; else an error that names what is wrong with it. */
  wellFormed<T>(verb: string, shape: z.ZodType, answer: T): T {
    const { error } = shape.safeParse(answer);
    if (!error) return answer;
    const faults = error.issues.slice(0, toldFaults).map(({ path, message }) => [...path.map(String), message].join(': '));
    throw new ScoriaError(
      this.#fallback,
      `${this.#name}: ${verb} answers what the contract does not know: ${faults.join('; ')}`,
      {
        remedy: 'Tell the authors of the plug-in; the suites of @scoria/conformance test what it answers.',
      },
    );
  }

  /** Gives a code to whatever a plug-in threw; errors with one stay. */
  coded(verb: string, thrown: unknown): ScoriaError {
    if (thrown instanceof ScoriaError) return thrown;
    if (thrown instanceof Error && 'code' in thrown && isErrorCode(thrown.code)) return ScoriaError.from(thrown);
    const message = thrown instanceof Error ? thrown.message : wordsOf(thrown);
    return new ScoriaError(this.#fallback, `${this.#name}: ${verb} failed: ${message}`, { cause: thrown });
  }
}

/** Words for something thrown that is no error. What is in an object is not told: it may be a secret. */
function wordsOf(thrown: unknown): string {
  return typeof thrown === 'string' ? thrown : `it threw ${typeof thrown}, which is no Error`;
}
