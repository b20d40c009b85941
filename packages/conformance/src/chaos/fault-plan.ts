import type { Clock, ErrorCode, PluginCall } from '@scoria/core';
import { ScoriaError } from '@scoria/core';

/** Which faults a chaos plug-in injects, and how often. Shares are 0 to 1, default 0. */
export interface ChaosOptions {
  /** The same seed and the same calls of each verb give the same faults. */
  readonly seed: number;
  /** Share of calls that fail before anything is done. */
  readonly failures?: number;
  /** Share of calls that are carried out and fail afterwards, as when the reply is lost. */
  readonly lostReplies?: number;
  /** Share of calls that begin late, and the longest delay in milliseconds. */
  readonly delays?: { readonly share: number; readonly longest: number };
  /** Share of calls that go on as if they had not been aborted. */
  readonly ignoreAborts?: number;
  /** The only verbs that faults befall. Default: all. */
  readonly verbs?: readonly string[];
  /** Told of each fault as it is injected. */
  onFault?(fault: InjectedFault): void;
}

/** A fault that was injected. */
export interface InjectedFault {
  readonly kind: 'failure' | 'lost-reply' | 'delay' | 'ignored-abort';
  readonly verb: string;
  /** Which call of this verb, from 1. */
  readonly ordinal: number;
}

/** What befalls one call. */
export interface CallFaults {
  readonly verb: string;
  readonly failure: boolean;
  readonly lostReply: boolean;
  /** Milliseconds before the call begins. */
  readonly delay: number;
  readonly ignoreAbort: boolean;
}

const none = { failure: false, lostReply: false, delay: 0, ignoreAbort: false };

/** Decides what befalls each call: by seed, verb and ordinal alone, so that the order of verbs among each other does not matter. */
export class FaultPlan {
  readonly #options: ChaosOptions;
  readonly #calls = new Map<string, number>();

  constructor(options: ChaosOptions) {
    for (const [name, share] of Object.entries({
      failures: options.failures,
      lostReplies: options.lostReplies,
      ignoreAborts: options.ignoreAborts,
      'delays.share': options.delays?.share,
    })) {
      if (share !== undefined && !(share >= 0 && share <= 1)) {
        throw new ScoriaError('invalid-configuration', `"${name}" of a chaos plug-in is a share from 0 to 1, not ${share}`);
      }
    }
    this.#options = options;
  }

  /** Faults of the next call of a verb. */
  next(verb: string): CallFaults {
    const ordinal = (this.#calls.get(verb) ?? 0) + 1;
    this.#calls.set(verb, ordinal);
    const { verbs, failures = 0, lostReplies = 0, delays, ignoreAborts = 0, onFault } = this.#options;
    if (verbs && !verbs.includes(verb)) return { verb, ...none };
    const draw = (kind: string) => fraction(`${this.#options.seed}/${verb}/${ordinal}/${kind}`);
    const befalls = (kind: InjectedFault['kind'], share: number) => {
      const hit = draw(kind) < share;
      if (hit) onFault?.({ kind, verb, ordinal });
      return hit;
    };
    const ignoreAbort = befalls('ignored-abort', ignoreAborts);
    const delay = delays && befalls('delay', delays.share) ? Math.ceil(draw('length') * delays.longest) : 0;
    const failure = befalls('failure', failures);
    return { verb, ignoreAbort, delay, failure, lostReply: !failure && befalls('lost-reply', lostReplies) };
  }
}

/** The call as the plug-in gets to see it. */
export function disturbed(call: PluginCall, faults: CallFaults): PluginCall {
  return faults.ignoreAbort ? { ...call, signal: new AbortController().signal } : call;
}

/** Waits and fails as planned, before the call. */
export async function before(faults: CallFaults, call: PluginCall, clock: Clock, code: ErrorCode): Promise<void> {
  if (faults.delay > 0) await clock.sleep(faults.delay, call.signal);
  if (faults.failure) throw new ScoriaError(code, `Injected fault: ${faults.verb} was not carried out`);
}

/** Loses the reply as planned, after the call. */
export function after(faults: CallFaults, code: ErrorCode): void {
  if (faults.lostReply) throw new ScoriaError(code, `Injected fault: ${faults.verb} was carried out, its reply was lost`);
}

/** A number from 0 up to 1 that depends on a text alone (FNV-1a, 32 bits, and a final mix as in MurmurHash3). */
function fraction(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01_00_01_93);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
