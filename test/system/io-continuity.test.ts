import { performance } from 'node:perf_hooks';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from './polling.ts';
import { Service } from './service.ts';
import { VerifiedLoad } from './verified-load.ts';

// I/O goes on while the control plane is killed, is away and comes back: not one command fails or comes back wrong.

/** Deaths of the control plane, commands under way in each of two sessions, and commands that each phase has to see. */
const rounds = 3;
const lanes = 32;
const phase = 2_000;

let service: Service;
beforeAll(async () => {
  service = await Service.start();
});
afterAll(() => service.end());

test('the death and return of the control plane cost no I/O', async () => {
  const { api } = service;
  const attached = [];
  for (const type of ['file-1', 'file-2']) attached.push(await api.attach(await api.newVolume({ size: 1, volume_type: type })));
  const loads = await Promise.all(attached.map(({ connection }) => VerifiedLoad.open(connection, lanes)));
  const end = new AbortController();
  const begin = performance.now();
  const running = Promise.all(loads.map((load) => load.run(end.signal)));
  const progress = async (what: string) => {
    const before = loads.map(({ commands }) => commands);
    await until(what, () => {
      if (loads.some(({ errors }) => errors.length > 0)) return true;
      return loads.every(({ commands }, index) => commands >= (before[index] ?? 0) + phase) ? true : undefined;
    });
  };
  try {
    const target = await service.targetProcess();
    for (let round = 0; round < rounds; round++) {
      await progress('I/O under a control plane');
      await service.killControlPlane();
      await progress('I/O without a control plane');
      await service.start();
      expect(await service.targetProcess()).toBe(target);
    }
    await progress('I/O under the last control plane');
  } finally {
    end.abort();
    await running;
  }
  const seconds = (performance.now() - begin) / 1000;
  const commands = loads.reduce((sum, load) => sum + load.commands, 0);
  const longest = (of: 'longestPause' | 'slowest') => Math.max(...loads.map((load) => load[of])).toFixed(0);
  console.log(
    `${commands} verified commands in ${seconds.toFixed(1)} s over ${rounds} deaths of the control plane: ` +
      `longest pause ${longest('longestPause')} ms, slowest command ${longest('slowest')} ms`,
  );
  expect(loads.flatMap(({ errors }) => errors)).toEqual([]);

  // The attachments are known to the last control plane, which ends them in order.
  for (const { id } of attached) await service.api.detach(id);
});
