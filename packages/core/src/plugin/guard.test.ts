import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../test/manual-clock.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import { type LogFields, silentLog } from '../platform/log.ts';
import type { PluginCall } from '../volume/driver.ts';
import { Guard } from './guard.ts';

const patience = 1_000;
const rule = (...objects: string[]) => ({ patience, objects });
const call = (fence = 0, signal: AbortSignal = new AbortController().signal): PluginCall => ({
  signal,
  fence,
  progress: () => undefined,
});

/** Work that a test lets end when it likes, and that tells when it has begun. */
function work() {
  const { promise: begun, resolve: begin } = Promise.withResolvers<PluginCall>();
  const { promise: ended, resolve: end, reject: fail } = Promise.withResolvers<string>();
  let running = false;
  const run = async (inner: PluginCall) => {
    running = true;
    begin(inner);
    return ended;
  };
  return { run, begun, end, fail, isRunning: () => running };
}
/** Lets everything that can go on without time or I/O do so. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

let clock: ManualClock;
let guard: Guard;
beforeEach(() => {
  clock = new ManualClock();
  guard = new Guard('backend b', clock, silentLog, 'backend-failed');
});

describe('locks', () => {
  it('lets one call at a time touch an object, in the order of asking', async () => {
    const [first, second] = [work(), work()];
    const one = guard.call('extend', rule('v'), call(), first.run);
    const two = guard.call('delete', rule('v'), call(), second.run);
    await settle();
    expect([first.isRunning(), second.isRunning()]).toEqual([true, false]);
    first.end('extended');
    await second.begun;
    second.end('deleted');
    expect(await Promise.all([one, two])).toEqual(['extended', 'deleted']);
  });

  it('lets calls on other objects, or on none, go on meanwhile', async () => {
    const first = work();
    const one = guard.call('extend', rule('v'), call(), first.run);
    await first.begun;
    expect(await guard.call('extend', rule('w'), call(), async () => 'other')).toBe('other');
    expect(await guard.call('pools', rule(), call(), async () => 'pools')).toBe('pools');
    first.end('done');
    await one;
  });

  it('does not let two calls that share two objects block each other for good', async () => {
    const both = await Promise.all([
      guard.call('clone', rule('v', 'w'), call(), async () => 'one'),
      guard.call('clone', rule('w', 'v'), call(), async () => 'other'),
    ]);
    expect(both).toEqual(['one', 'other']);
  });

  it('frees an object whose call has failed', async () => {
    await expect(guard.call('create', rule('v'), call(), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await guard.call('create', rule('v'), call(), async () => 'yes')).toBe('yes');
  });
});

describe('fencing', () => {
  it('refuses a lower token than one seen for the object, and takes the same or a higher one', async () => {
    await guard.call('extend', rule('v'), call(5), async () => undefined);
    const late = work();
    await expect(guard.call('delete', rule('v'), call(4), late.run)).rejects.toMatchObject({ code: 'stale-fence' });
    expect(late.isRunning()).toBe(false);
    expect(await guard.call('extend', rule('v'), call(5), async () => 'same')).toBe('same');
    expect(await guard.call('extend', rule('v'), call(6), async () => 'higher')).toBe('higher');
  });

  it('compares tokens of the first object only, and never those of others', async () => {
    await guard.call('clone', rule('copy', 'origin'), call(9), async () => undefined);
    expect(await guard.call('extend', rule('origin'), call(2), async () => 'taken')).toBe('taken');
    expect(await guard.call('extend', rule('other'), call(1), async () => 'taken')).toBe('taken');
  });

  it('refuses an old worker that was waiting while its successor came by', async () => {
    const first = work();
    const one = guard.call('extend', rule('v'), call(7), first.run);
    const old = guard.call('delete', rule('v'), call(6), async () => 'deleted');
    first.end('done');
    await one;
    await expect(old).rejects.toMatchObject({ code: 'stale-fence' });
  });
});

describe('patience', () => {
  it('ends with deadline-exceeded and an aborted signal when nothing is heard for its length', async () => {
    const slow = work();
    const result = guard.call('create', rule('v'), call(), slow.run);
    const inner = await slow.begun;
    clock.advance(patience - 1);
    expect(inner.signal.aborted).toBe(false);
    clock.advance(1);
    await expect(result).rejects.toMatchObject({
      code: 'deadline-exceeded',
      message: 'backend b: create gave no sign for 1000 ms',
    });
    expect(inner.signal.aborted).toBe(true);
  });

  it('begins anew with each sign of progress, which the caller hears as well', async () => {
    const heard: number[] = [];
    const long = work();
    const result = guard.call('clone', rule('v'), { ...call(), progress: (done) => heard.push(done) }, long.run);
    const inner = await long.begun;
    for (let done = 1; done <= 5; done += 1) {
      clock.advance(patience - 1);
      inner.progress(done, 5);
    }
    long.end('copied');
    expect(await result).toBe('copied');
    expect(heard).toEqual([1, 2, 3, 4, 5]);
  });

  it('keeps the object locked until hanging work has really settled', async () => {
    const hanging = work();
    const result = guard.call('create', rule('v'), call(), hanging.run);
    await hanging.begun;
    clock.advance(patience);
    await expect(result).rejects.toMatchObject({ code: 'deadline-exceeded' });
    const next = work();
    const following = guard.call('delete', rule('v'), call(), next.run);
    await settle();
    expect(next.isRunning()).toBe(false);
    hanging.fail(new Error('at last'));
    await next.begun;
    next.end('deleted');
    expect(await following).toBe('deleted');
  });

  it('leaves no timer behind', async () => {
    await guard.call('pools', rule(), call(), async () => 'done');
    await expect(guard.call('pools', rule(), call(), () => Promise.reject(new Error('no')))).rejects.toThrow();
    expect(clock.pending).toBe(0);
  });
});

describe('aborting', () => {
  it('ends the call with the reason of the caller and aborts the work', async () => {
    const controller = new AbortController();
    const slow = work();
    const result = guard.call('clone', rule('v'), call(0, controller.signal), slow.run);
    const inner = await slow.begun;
    const reason = new ScoriaError('cancelled', 'the user asked for it');
    controller.abort(reason);
    await expect(result).rejects.toBe(reason);
    expect(inner.signal.reason).toBe(reason);
  });

  it('never begins work whose caller has given up while it waited', async () => {
    const controller = new AbortController();
    const [first, second] = [work(), work()];
    const one = guard.call('extend', rule('v'), call(), first.run);
    const two = guard.call('delete', rule('v'), call(0, controller.signal), second.run);
    controller.abort(new ScoriaError('cancelled', 'stop'));
    await expect(two).rejects.toMatchObject({ code: 'cancelled' });
    first.end('done');
    await one;
    await settle();
    expect(second.isRunning()).toBe(false);
  });
});

describe('errors', () => {
  const failing = (thrown: unknown) => guard.call('create', rule('v'), call(), () => Promise.reject(thrown));

  it('passes a ScoriaError on as it is', async () => {
    const error = new ScoriaError('device-no-space', 'full');
    await expect(failing(error)).rejects.toBe(error);
  });

  it('gives a foreign error the code of the kind of plug-in, with the name, the verb and the cause', async () => {
    const cause = new Error('socket hang up');
    await expect(failing(cause)).rejects.toMatchObject({
      name: 'ScoriaError',
      code: 'backend-failed',
      message: 'backend b: create failed: socket hang up',
      cause,
    });
    await expect(failing('a text')).rejects.toMatchObject({
      code: 'backend-failed',
      message: 'backend b: create failed: a text',
    });
  });

  it('knows the errors of another copy of core by their shape', async () => {
    const foreign = Object.assign(new Error('busy'), { name: 'ScoriaError', code: 'backend-busy' });
    await expect(failing(foreign)).rejects.toMatchObject({ code: 'backend-busy', message: 'busy', cause: foreign });
  });

  it('does not take an error of the operating system for one of its own codes', async () => {
    await expect(failing(Object.assign(new Error('no'), { code: 'ENOENT' }))).rejects.toMatchObject({ code: 'backend-failed' });
  });

  it('codes what a verb throws at once, before it has given a promise', async () => {
    const rude = () => {
      throw new Error('rude');
    };
    await expect(guard.call('create', rule('v'), call(), rude)).rejects.toMatchObject({ code: 'backend-failed' });
  });

  it('logs a failure, but not a cancellation', async () => {
    const warned: string[] = [];
    guard = new Guard(
      'backend b',
      clock,
      { ...silentLog, warn: (_fields: object, text?: string) => void warned.push(String(text)) },
      'backend-failed',
    );
    await expect(failing(new ScoriaError('cancelled', 'stop'))).rejects.toThrow();
    await expect(failing(new Error('no'))).rejects.toThrow();
    expect(warned).toEqual(['backend b: create failed']);
  });

  it('tells a failure once until it changes or ends, and how often it came again', async () => {
    const told: [text: string, before: unknown][] = [];
    const tell = (fields: LogFields, text: string) => void told.push([text, fields.before]);
    guard = new Guard('backend b', clock, { ...silentLog, warn: tell, info: tell }, 'backend-failed');
    const attempt = (object: string, message?: string) =>
      guard.call('create', rule(object), call(), async () => {
        if (message !== undefined) throw new ScoriaError('backend-unavailable', message);
      });
    const fail = async (object: string, message: string) => {
      await expect(attempt(object, message)).rejects.toThrow(message);
    };
    for (let times = 0; times < 3; times++) await fail('v', 'the array is down');
    await fail('w', 'the array is down');
    await fail('v', 'the array has no room');
    for (const object of ['v', 'w', 'w', 'x']) await attempt(object);
    await fail('w', 'the array is down');
    const [failed, over] = ['backend b: create failed', 'backend b: create works again'];
    expect(told).toEqual([
      [failed, undefined],
      [failed, undefined],
      [failed, { message: 'the array is down', again: 2 }],
      [over, { message: 'the array has no room', again: 0 }],
      [over, { message: 'the array is down', again: 0 }],
      [failed, undefined],
    ]);
  });
});

describe('what is thrown without being an error', () => {
  it.each<[unknown, string]>([
    ['array is full', 'backend b: create failed: array is full'],
    [undefined, 'backend b: create failed: it threw undefined, which is no Error'],
    [{ password: 'secret' }, 'backend b: create failed: it threw object, which is no Error'],
  ])('%j gets the code of the plug-in and the name of the verb', async (thrown, message) => {
    await expect(guard.call('create', rule('v'), call(), () => Promise.reject(thrown))).rejects.toMatchObject({
      code: 'backend-failed',
      message,
    });
  });
});
