import assert from 'node:assert/strict';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { plainCall } from '../transport/transport-bench.ts';
import type { InitiatorChecks } from './initiator-check.ts';

const MiB = 1024 * 1024;

/** How connections end. */
export const disconnectChecks: InitiatorChecks = {
  'disconnect-ends': {
    verb: 'disconnect',
    contract: 'Settles when no session and no device node of it is there; succeeds when there was none.',
    demand: 'no session is left of what was connected, open or closed',
    run: async (bench) => {
      const volume = await bench.publish();
      const closed = await bench.connect(volume.info);
      await bench.connect(volume.info);
      await closed.close();
      await bench.initiator.disconnect(volume.info, plainCall);
      await bench.untilNoSession(volume);
    },
  },

  'disconnect-fails-devices': {
    verb: 'disconnect',
    contract: 'Devices that are still open fail with `device-gone`.',
    demand: 'a device that is still open fails, and can be closed',
    run: async (bench) => {
      const volume = await bench.publish();
      const device = await bench.connect(volume.info);
      await writePattern(device, 1, 0, MiB);
      await bench.initiator.disconnect(volume.info, plainCall);
      await assert.rejects(device.read(new Uint8Array(4096), 0), { code: 'device-gone' });
      await assert.rejects(device.write(pattern(2, 0, 4096), 0), { code: 'device-gone' });
      await assert.rejects(device.flush(), { code: 'device-gone' });
      await device.close();
      await assertPattern(await bench.connect(volume.info), 1, 0, MiB, 'the volume');
    },
  },

  'disconnect-repeated': {
    verb: 'disconnect',
    contract: 'succeeds when there was none.',
    demand: 'a disconnect may be repeated, and asked for of what was never connected',
    run: async (bench) => {
      const volume = await bench.publish();
      await bench.initiator.disconnect(volume.info, plainCall);
      await bench.connect(volume.info);
      await Promise.all([bench.initiator.disconnect(volume.info, plainCall), bench.initiator.disconnect(volume.info, plainCall)]);
      await bench.initiator.disconnect(volume.info, plainCall);
      await bench.untilNoSession(volume);
      await bench.connect(volume.info);
    },
  },

  'disconnect-one': {
    verb: 'disconnect',
    contract: 'Ends what is left of a connection on this host',
    demand: 'the end of one connection leaves those to other volumes',
    run: async (bench) => {
      const [leaves, stays] = [await bench.publish(), await bench.publish()];
      const [, device] = [await bench.connect(leaves.info), await bench.connect(stays.info)];
      await writePattern(device, 1, 0, MiB);
      await bench.initiator.disconnect(leaves.info, plainCall);
      await assertPattern(device, 1, 0, MiB, 'the other volume');
    },
  },
};

/** What one process connected and another one ends. */
export const hostSessionChecks: InitiatorChecks = {
  'disconnect-after-crash': {
    verb: 'disconnect',
    contract: 'Ends what is left of a connection on this host, also when a process that died had made it.',
    demand: 'a new process ends what an old one had connected, and connects anew',
    run: async (bench) => {
      const volume = await bench.publish();
      const device = await bench.connect(volume.info);
      await writePattern(device, 1, 0, MiB);
      await device.flush();
      await bench.restart();
      await bench.initiator.disconnect(volume.info, plainCall);
      await bench.untilNoSession(volume);
      await assertPattern(await bench.connect(volume.info), 1, 0, MiB, 'the volume');
    },
  },
};
