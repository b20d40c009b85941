import { openPathDevice, type BlockDevice, type Clock, type PluginCall } from '@scoria/core';
import type { Erase } from './configuration.ts';
import type { LvmCommands } from './lvm-commands.ts';

const MiB = 1024 * 1024;
/** Bytes zeroed in one call: an abort is seen after it. */
const zeroStep = 64 * MiB;
/** Bytes written in one call. */
const writeStep = 4 * MiB;
/** Bytes discarded by one command. */
const discardStep = 32 * 1024 * MiB;
const second = 1000;

/** What an erasure needs to know. Sizes and offsets are bytes. */
export interface Erasure {
  /** The device node. */
  readonly path: string;
  readonly how: Erase;
  /** Where to begin. */
  readonly from: number;
  /** Where to end. */
  readonly to: number;
  /** Bytes a second at most; `undefined` for no limit. */
  readonly rate: number | undefined;
  readonly clock: Clock;
  readonly commands: LvmCommands;
  readonly call: PluginCall;
  /** Told now and then how far it is, to be kept for a later try. */
  saved?(done: number): Promise<void>;
}

/** Bytes between two calls of {@link Erasure.saved}. */
const savedStep = 16 * 1024 * MiB;

/** Erases a range of a logical volume, in steps, with progress. Stops at the next step when the call is aborted. */
export async function erase(erasure: Erasure): Promise<void> {
  const { path, how, from, to, call } = erasure;
  if (how === 'none' || from >= to) return;
  if (how === 'discard') {
    await inSteps(erasure, discardStep, (offset, length) => erasure.commands.discard(path, offset, length, call.signal));
    return;
  }
  const device = await openPathDevice({ kind: 'path', path, blockSize: 512 }, { readOnly: false, io: 'pool' });
  try {
    // What is kept as erased must not come back with a loss of power.
    const { saved } = erasure;
    const keep = async (done: number) => {
      await device.flush();
      await saved?.(done);
    };
    const durable: Erasure = saved ? { ...erasure, saved: keep } : erasure;
    await (how === 'zero' ? zero(durable, device) : overwrite(durable, device));
    await device.flush();
  } finally {
    await device.close();
  }
}

const zero = (erasure: Erasure, device: BlockDevice) =>
  inSteps(erasure, zeroStep, (offset, length) => device.writeZeroes(offset, length));

function overwrite(erasure: Erasure, device: BlockDevice): Promise<void> {
  const zeroes = new Uint8Array(writeStep);
  return inSteps(erasure, writeStep, async (offset, length) => {
    await device.write(zeroes.subarray(0, length), offset);
    // The page cache would take all of it and hold up the end.
    if (Math.floor(offset / zeroStep) !== Math.floor((offset + length) / zeroStep)) await device.flush();
  });
}

async function inSteps(erasure: Erasure, step: number, work: (offset: number, length: number) => Promise<void>): Promise<void> {
  const { from, to, rate, clock, call, saved } = erasure;
  const begin = clock.monotonic();
  let kept = from;
  for (let offset = from; offset < to;) {
    call.signal.throwIfAborted();
    const length = Math.min(step, to - offset);
    await work(offset, length);
    offset += length;
    call.progress(offset, to);
    if (rate !== undefined && offset < to) {
      const due = ((offset - from) / rate) * second - (clock.monotonic() - begin);
      if (due > 0) await clock.sleep(due, call.signal);
    }
    if (saved && offset - kept >= savedStep && offset < to) await saved((kept = offset));
  }
}
