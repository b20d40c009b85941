import assert from 'node:assert/strict';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { exportedSize, plainCall } from '../transport/transport-bench.ts';
import type { InitiatorChecks } from './initiator-check.ts';

const KiB = 1024;
const MiB = 1024 * 1024;

/** What a connected device does with its bytes. */
export const connectedDeviceChecks: InitiatorChecks = {
  'connected-content': {
    verb: 'write',
    contract: 'Writes all of `data` at `offset`.',
    demand: 'what is written is read back, whatever its length, and is on the volume after a flush',
    run: async (bench) => {
      const volume = await bench.publish();
      const device = await bench.connect(volume.info);
      const pieces = [
        { seed: 1, offset: 0, length: device.blockSize },
        { seed: 2, offset: 64 * KiB, length: 4 * KiB },
        { seed: 3, offset: MiB, length: MiB + 12 * KiB },
        { seed: 4, offset: exportedSize - 4 * KiB, length: 4 * KiB },
      ];
      for (const { seed, offset, length } of pieces) {
        await device.write(pattern(seed, offset, length), offset);
        await assertPattern(device, seed, offset, length, 'what was written');
      }
      await device.flush();
      const beside = await bench.beside(volume);
      for (const { seed, offset, length } of pieces) await assertPattern(beside, seed, offset, length, 'the volume');
      await assertPattern(beside, 0, 3 * MiB, 4 * MiB, 'the rest of the volume');
    },
  },

  'connected-long': {
    verb: 'read',
    contract: 'Fills `into` from `offset`.',
    demand: 'a call may be longer than what the transport moves at once',
    run: async (bench) => {
      const { info } = await bench.publish();
      const device = await bench.connect(info);
      await device.write(pattern(5, 0, exportedSize), 0);
      const found = new Uint8Array(exportedSize);
      await device.read(found, 0);
      assert.equal(Buffer.compare(found, pattern(5, 0, exportedSize)), 0);
    },
  },

  'connected-in-flight': {
    verb: 'write',
    contract: 'Concurrent calls are allowed.',
    demand: 'many calls at the same time do not mix',
    run: async (bench) => {
      const { info } = await bench.publish();
      const device = await bench.connect(info);
      const offsets = Array.from({ length: 256 }, (_, index) => index * 16 * KiB);
      await Promise.all(offsets.map((offset, index) => device.write(pattern(index + 1, offset, 16 * KiB), offset)));
      await Promise.all(offsets.map((offset, index) => assertPattern(device, index + 1, offset, 16 * KiB, `write ${index}`)));
    },
  },

  'connected-through': {
    verb: 'write',
    contract: 'the promise settles only when the data are on stable storage (SBC-4, FUA bit).',
    demand: 'what is written through is on the volume at once',
    run: async (bench) => {
      const volume = await bench.publish();
      const device = await bench.connect(volume.info);
      await device.write(pattern(6, MiB, 64 * KiB), MiB, { fua: true });
      await assertPattern(await bench.beside(volume), 6, MiB, 64 * KiB, 'the volume');
    },
  },

  'connected-discard': {
    verb: 'discard',
    contract: 'Frees the space of a range where the storage can; it reads as zeroes afterwards.',
    demand: 'what is discarded or zeroed reads as zeroes, and nothing beside it changes',
    run: async (bench) => {
      const { info } = await bench.publish();
      const device = await bench.connect(info);
      await writePattern(device, 1, 0, 4 * MiB);
      await device.discard(MiB, MiB);
      await device.writeZeroes(3 * MiB, 64 * KiB);
      await device.discard(2 * MiB + 4 * KiB, 4 * KiB);
      await assertPattern(device, 1, 0, MiB, 'before the range');
      await assertPattern(device, 0, MiB, MiB, 'what was discarded');
      await assertPattern(device, 1, 2 * MiB, 4 * KiB, 'behind the range');
      await assertPattern(device, 0, 2 * MiB + 4 * KiB, 4 * KiB, 'the small range');
      await assertPattern(device, 1, 2 * MiB + 8 * KiB, MiB - 8 * KiB, 'behind the small range');
      await assertPattern(device, 0, 3 * MiB, 64 * KiB, 'what was zeroed');
      await assertPattern(device, 1, 3 * MiB + 64 * KiB, MiB - 64 * KiB, 'behind it');
    },
  },

  'connected-extents': {
    verb: 'allocatedExtents',
    contract: 'The parts of a range that may hold data, in ascending order, not overlapping; what is not listed reads as zeroes.',
    demand: 'extents come in order and within the range, and what is not listed reads as zeroes',
    run: async (bench) => {
      const { info } = await bench.publish();
      const device = await bench.connect(info);
      await writePattern(device, 1, MiB, MiB);
      await writePattern(device, 2, 4 * MiB, 64 * KiB);
      const [from, end] = [MiB + 512 * KiB, 5 * MiB + 512 * KiB];
      let at = from;
      for await (const { offset, length } of device.allocatedExtents(from, end - from)) {
        assert(offset >= at && length > 0 && offset + length <= end, `the extent at ${offset} is out of place`);
        await assertPattern(device, 0, at, offset - at, 'what is not listed');
        at = offset + length;
      }
      await assertPattern(device, 0, at, end - at, 'what is not listed');
    },
  },

  'connected-range': {
    verb: 'read',
    contract:
      'Offsets and lengths are bytes and multiples of {@link blockSize}; all within {@link size}, else `device-out-of-range`.',
    demand: 'what lies beyond the end, or is no whole block, is refused',
    run: async (bench) => {
      const { info } = await bench.publish();
      const device = await bench.connect(info);
      const refused = { code: 'device-out-of-range' };
      await assert.rejects(device.read(new Uint8Array(4096), exportedSize), refused);
      await assert.rejects(device.write(new Uint8Array(8192), exportedSize - 4096), refused);
      await assert.rejects(device.read(new Uint8Array(4096), 100), refused);
      await assert.rejects(device.write(new Uint8Array(100), 0), refused);
      await assertPattern(device, 0, 0, MiB, 'the volume');
    },
  },

  'connected-resize': {
    verb: 'refreshSize',
    contract: '`refreshSize` asks the target again.',
    demand: 'a volume that has grown is as large as the target says, once it is asked, and goes on',
    run: async (bench) => {
      const volume = await bench.publish();
      const { transport, volumes } = bench.publisher;
      const device = await bench.connect(volume.info);
      await writePattern(device, 1, 0, MiB);
      await volumes.resize(volume.request.device, 2 * exportedSize);
      await transport.resize(volume.request.volumeId, plainCall);
      await assertPattern(device, 1, 0, MiB, 'what was written before');
      assert.equal(device.size, exportedSize, 'the size changed by itself');
      assert.equal(await device.refreshSize(), 2 * exportedSize);
      assert.equal(device.size, 2 * exportedSize);
      await writePattern(device, 2, exportedSize, MiB);
      await assertPattern(device, 2, exportedSize, MiB, 'the new part');
    },
  },

  'connected-close': {
    verb: 'close',
    contract: 'Waits for calls under way, then lets go of the device. A second call does nothing.',
    demand: 'close waits for what is under way, may be repeated, and nothing works afterwards',
    run: async (bench) => {
      const volume = await bench.publish();
      const device = await bench.connect(volume.info);
      const offsets = [0, MiB, 2 * MiB, 3 * MiB];
      let written = 0;
      const writing = Promise.allSettled(
        offsets.map((offset) => device.write(pattern(1, offset, MiB), offset).then(() => written++)),
      );
      await device.close();
      assert.equal(written, offsets.length, 'close did not wait for what was under way');
      await writing;
      await device.close();
      await assert.rejects(device.read(new Uint8Array(4096), 0));
      await assertPattern(await bench.connect(volume.info), 1, 0, 4 * MiB, 'the volume');
    },
  },
};
