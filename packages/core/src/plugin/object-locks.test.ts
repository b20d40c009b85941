import { expect, test } from 'vitest';
import { ObjectLocks } from './object-locks.ts';

/** Work that ends when it is told to. */
function piece(name: string, begun: string[]) {
  const { promise, resolve: end } = Promise.withResolvers<void>();
  return { end, work: () => (begun.push(name), promise) };
}
const settled = () => new Promise<void>((resolve) => setImmediate(resolve));

test('works of one key come one after the other, those of other keys at once', async () => {
  const locks = new ObjectLocks();
  const begun: string[] = [];
  const [first, second, other] = [piece('first', begun), piece('second', begun), piece('other', begun)];
  const all = [locks.run(['a'], first.work), locks.run(['b', 'a'], second.work), locks.run(['c'], other.work)];
  await settled();
  expect(begun).toEqual(['first', 'other']);
  expect(['a', 'b', 'c', 'd'].map((key) => locks.isTaken(key))).toEqual([true, true, true, false]);
  first.end();
  await settled();
  expect(begun).toEqual(['first', 'other', 'second']);
  second.end();
  other.end();
  await Promise.all(all);
  await settled();
  expect(['a', 'b', 'c'].map((key) => locks.isTaken(key))).toEqual([false, false, false]);
});

test('callers that name the same keys in another order do not block each other', async () => {
  const locks = new ObjectLocks();
  const done = await Promise.all([locks.run(['a', 'b'], async () => 1), locks.run(['b', 'a'], async () => 2)]);
  expect(done).toEqual([1, 2]);
});

test('work that fails lets the next one go on', async () => {
  const locks = new ObjectLocks();
  const failed = locks.run(['a'], () => Promise.reject(new Error('failed')));
  const next = locks.run(['a'], async () => 'next');
  await expect(failed).rejects.toThrow('failed');
  await expect(next).resolves.toBe('next');
});

test('work that is given up while it waits is never begun, and lets nobody pass those before', async () => {
  const locks = new ObjectLocks();
  const begun: string[] = [];
  const [first, second, third] = [piece('first', begun), piece('second', begun), piece('third', begun)];
  const stop = new AbortController();
  const running = locks.run(['a'], first.work);
  const givenUp = locks.run(['a'], second.work, stop.signal);
  stop.abort(new Error('given up'));
  await expect(givenUp).rejects.toThrow('given up');
  const last = locks.run(['a'], third.work);
  await settled();
  expect(begun).toEqual(['first']);
  first.end();
  third.end();
  await Promise.all([running, last]);
  expect(begun).toEqual(['first', 'third']);
});

test('work under way is waited for, whatever its signal says', async () => {
  const locks = new ObjectLocks();
  const begun: string[] = [];
  const first = piece('first', begun);
  const stop = new AbortController();
  const running = locks.run(['a'], first.work, stop.signal);
  await settled();
  stop.abort();
  const next = locks.run(['a'], async () => void begun.push('next'));
  await settled();
  expect(begun).toEqual(['first']);
  first.end();
  await Promise.all([running, next]);
  expect(begun).toEqual(['first', 'next']);
});
