import type { Clock, ErrorCode, Plugin, PluginCall } from '@scoria/core';
import { after, before, disturbed, FaultPlan, type CallFaults, type ChaosOptions } from './fault-plan.ts';

/** Verbs of a driver that give an iterable instead of a promise. */
const driverIterables: ReadonlySet<string> = new Set(['list', 'listManageable', 'allocatedExtents', 'changedExtents']);

/**
 * A driver's plug-in with faults: the same name, configuration, capabilities and devices, so that it takes the other's
 * place in any configuration. Injected failures have the code `backend-unavailable`. A list that loses its reply
 * fails at its end.
 *
 * @example
 * const plugin = chaosDriver(filePlugin, { seed: 7, failures: 0.1, lostReplies: 0.1, delays: { share: 0.5, longest: 20 } });
 */
export function chaosDriver(plugin: Plugin<'driver'>, options: ChaosOptions): Plugin<'driver'> {
  const plan = new FaultPlan(options);
  const rules: Rules = { plan, code: 'backend-unavailable', iterates: driverIterables };
  return { ...plugin, create: (context) => withFaults(plugin.create(context), context.clock, rules) };
}

/**
 * A transport's plug-in with faults, like {@link chaosDriver}. Injected failures have the code `transport-failed`. `stop`
 * and `connectionInfo` work as ever.
 */
export function chaosTransport(plugin: Plugin<'transport'>, options: ChaosOptions): Plugin<'transport'> {
  const rules: Rules = { plan: new FaultPlan(options), code: 'transport-failed' };
  return { ...plugin, create: (context) => withFaults(plugin.create(context), context.clock, rules) };
}

interface Rules {
  readonly plan: FaultPlan;
  /** Code of injected failures. */
  readonly code: ErrorCode;
  /** The verbs that give an iterable instead of a promise. */
  readonly iterates?: ReadonlySet<string>;
}

/** Every method whose last argument is a {@link PluginCall} is a verb; the rest is left as it is. */
function withFaults<T extends object>(target: T, clock: Clock, { plan, code, iterates }: Rules): T {
  return new Proxy(target, {
    get: (object, key) => {
      // Private fields are reached through the object itself only.
      const member: unknown = Reflect.get(object, key, object);
      if (typeof member !== 'function') return member;
      return (...args: readonly unknown[]): unknown => {
        const call = args.at(-1);
        if (typeof key !== 'string' || !isPluginCall(call)) return Reflect.apply(member, object, args);
        const faults = plan.next(key);
        const seen = disturbed(call, faults);
        const work = (): unknown => Reflect.apply(member, object, [...args.slice(0, -1), seen]);
        return iterates?.has(key) ? iterated(work, faults, seen, clock, code) : settled(work, faults, seen, clock, code);
      };
    },
  });
}

async function settled(
  work: () => unknown,
  faults: CallFaults,
  call: PluginCall,
  clock: Clock,
  code: ErrorCode,
): Promise<unknown> {
  await before(faults, call, clock, code);
  const result = await work();
  after(faults, code);
  return result;
}

async function* iterated(
  work: () => unknown,
  faults: CallFaults,
  call: PluginCall,
  clock: Clock,
  code: ErrorCode,
): AsyncGenerator<unknown> {
  await before(faults, call, clock, code);
  const items = work();
  if (isAsyncIterable(items)) yield* items;
  after(faults, code);
}

function isPluginCall(value: unknown): value is PluginCall {
  return (
    typeof value === 'object' && value !== null && 'signal' in value && value.signal instanceof AbortSignal && 'fence' in value
  );
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}
