import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lvmConfigSchema } from '../src/configuration.ts';
import { erase } from '../src/erasure.ts';
import { LvmCommands } from '../src/lvm-commands.ts';
import { call, MiB } from './lvm-bench.ts';
import { ManualClock } from './manual-clock.ts';
import { ModelledLvm } from './modelled-lvm.ts';

const GiB = 1024 * MiB;
let directory: string;
let path: string;
const clock = new ManualClock();
const exec = new ModelledLvm();
const commands = new LvmCommands(exec, lvmConfigSchema.parse({ volumeGroups: ['vg'] }));
const common = { clock, commands, call, rate: undefined };

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'driver-lvm-'));
  path = join(directory, 'device');
});
afterEach(() => rm(directory, { recursive: true }));

async function device(size: number): Promise<void> {
  await using file = await open(path, 'w');
  await file.truncate(size);
  await file.write(Buffer.alloc(MiB, 1), 0, MiB, 0);
  await file.write(Buffer.alloc(MiB, 1), 0, MiB, size - MiB);
}
async function endsOf(size: number): Promise<readonly boolean[]> {
  await using file = await open(path, 'r');
  const zero = async (position: number) => {
    const { buffer } = await file.read(Buffer.alloc(MiB, 1), 0, MiB, position);
    return buffer.every((byte) => byte === 0);
  };
  return [await zero(0), await zero(size - MiB)];
}

test.each(['zero', 'overwrite'] as const)('"%s" leaves zeroes in the range, and tells its progress', async (how) => {
  await device(16 * MiB);
  const told: number[] = [];
  const progress = (done: number, total: number) => {
    expect(total).toBe(16 * MiB);
    told.push(done);
  };
  await erase({ ...common, path, how, from: 2 * MiB, to: 16 * MiB, call: { ...call, progress } });
  expect(await endsOf(16 * MiB)).toEqual([false, true]);
  expect(told.at(-1)).toBe(16 * MiB);
  await erase({ ...common, path, how, from: 0, to: 16 * MiB });
  expect(await endsOf(16 * MiB)).toEqual([true, true]);
});

test('a long one says now and then from where a later try may go on', async () => {
  await device(40 * GiB);
  const saved: number[] = [];
  await erase({ ...common, path, how: 'zero', from: 0, to: 40 * GiB, saved: async (done) => void saved.push(done) });
  expect(saved).toEqual([16 * GiB, 32 * GiB]);
});

test('it keeps to its rate', async () => {
  await device(512 * MiB);
  const begin = clock.monotonic();
  await erase({ ...common, path, how: 'zero', from: 0, to: 512 * MiB, rate: 64 * MiB });
  expect(clock.monotonic() - begin).toBe(7_000);
});

test('an abort ends it at the next step', async () => {
  await device(512 * MiB);
  const controller = new AbortController();
  const progress = () => controller.abort(new Error('cancelled'));
  const erasing = erase({
    ...common,
    path,
    how: 'zero',
    from: 0,
    to: 512 * MiB,
    call: { ...call, signal: controller.signal, progress },
  });
  await expect(erasing).rejects.toThrow('cancelled');
  expect(await endsOf(512 * MiB)).toEqual([true, false]);
});

test('discards are one command for many gigabytes', async () => {
  await erase({ ...common, path: '/dev/vg/volume', how: 'discard', from: 0, to: 40 * GiB });
  expect(exec.commands.map(({ args }) => args)).toEqual([
    ['--offset', '0', '--length', String(32 * GiB), '/dev/vg/volume'],
    ['--offset', String(32 * GiB), '--length', String(8 * GiB), '/dev/vg/volume'],
  ]);
});
