import { beforeEach, describe, expect, test } from 'vitest';
import { WriteGate, type CopyMap } from '../src/volume/write-gate.ts';

let gate: WriteGate;
let order: string[];
beforeEach(() => {
  gate = new WriteGate();
  order = [];
});

const write = (name: string, exclusive = false) => ({ offset: 0, length: 512, exclusive, run: () => void order.push(name) });

describe('the write gate', () => {
  test('lets writes through at once, side by side', () => {
    expect([gate.enter(write('a')), gate.enter(write('b'))]).toEqual([true, true]);
    expect(order).toEqual(['a', 'b']);
  });

  test('lets an exclusive write wait for those under way, and the later ones wait for it', () => {
    gate.enter(write('a'));
    gate.enter(write('exclusive', true));
    gate.enter(write('b'));
    expect(order).toEqual(['a']);
    gate.leave();
    expect(order).toEqual(['a', 'exclusive']);
    gate.leave();
    expect(order).toEqual(['a', 'exclusive', 'b']);
  });

  test('keeps the order of what was held back, until the last hold ends', () => {
    const [first, second] = [{}, {}];
    gate.hold(first);
    gate.hold(second);
    gate.enter(write('a'));
    gate.enter(write('b'));
    gate.release(first);
    expect(order).toEqual([]);
    gate.release(second);
    expect(order).toEqual(['a', 'b']);
  });

  test('forgets a write that is withdrawn', () => {
    const token = {};
    gate.hold(token);
    const withdrawn = write('withdrawn');
    gate.enter(withdrawn);
    gate.enter(write('a'));
    expect(gate.withdraw(withdrawn)).toBe(true);
    gate.release(token);
    expect(order).toEqual(['a']);
    expect(gate.withdraw(withdrawn)).toBe(false);
  });

  test('settles when nothing is under way', async () => {
    gate.enter(write('a'));
    gate.hold({});
    let settled = false;
    const done = gate.settled().then(() => (settled = true));
    await Promise.resolve();
    expect(settled).toBe(false);
    gate.leave();
    await done;
  });

  test('makes a write wait for what it overwrites, and no other', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const map: CopyMap = { passes: (offset) => offset >= 4096, secure: () => promise };
    gate.addMap(map);
    gate.enter(write('waits'));
    gate.enter({ ...write('passes'), offset: 8192 });
    expect(order).toEqual(['passes']);
    resolve();
    await promise;
    await new Promise((done) => setTimeout(done, 0));
    expect(order).toEqual(['passes', 'waits']);
  });
});
