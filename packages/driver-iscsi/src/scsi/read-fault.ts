import { ScoriaError, type BlockDevice } from '@scoria/core/device';
import type { BlockRange } from './block-range.ts';
import type { ScsiCommand } from './command.ts';
import { maxTransferLength } from './inquiry.ts';
import { senseFromError } from './sense.ts';

/**
 * Ends a command whose read of `range` failed. A medium error names the first block that cannot be read (SPC-4, 4.5.3),
 * which is looked for by halves.
 */
export function readFault(device: BlockDevice, range: BlockRange, error: unknown, command: ScsiCommand): void {
  const sense = senseFromError(error, true);
  if (ScoriaError.from(error).code !== 'device-medium-error') return command.check(sense);
  firstUnreadable(device, range, command).then(
    (information) => command.check({ ...sense, information }),
    // The error went away, or became another: which block it was cannot be told.
    () => command.check(sense),
  );
}

async function firstUnreadable(device: BlockDevice, { lba, blocks }: BlockRange, command: ScsiCommand): Promise<number> {
  const { blockSize } = device;
  const step = maxTransferLength / blockSize;
  const buffer = Buffer.allocUnsafe(Math.min(Math.ceil(blocks / 2), step) * blockSize);
  let from = lba;
  let count = blocks;
  while (count > 1) {
    if (command.aborted) throw new ScoriaError('cancelled', 'The command was aborted');
    const half = Math.min(Math.ceil(count / 2), step);
    try {
      await device.read(buffer.subarray(0, half * blockSize), from * blockSize);
      from += half;
      count -= half;
    } catch (error) {
      if (ScoriaError.from(error).code !== 'device-medium-error') throw error;
      count = half;
    }
  }
  return from;
}
