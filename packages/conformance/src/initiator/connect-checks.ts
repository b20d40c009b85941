import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { systemRandom } from '@scoria/core';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { exportedSize, plainCall } from '../transport/transport-bench.ts';
import type { InitiatorChecks } from './initiator-check.ts';

const MiB = 1024 * 1024;
const refusals =
  '`not-permitted` when the target refuses who we are, `transport-failed` when it cannot be reached, `device-gone` when it has another volume.';

/** How volumes are connected, and when not. */
export const connectChecks: InitiatorChecks = {
  'connector-stable': {
    verb: 'connector',
    contract: 'What this host says of itself when it asks for access.',
    demand: 'the connector is the same each time, and names the host or its initiator',
    run: async ({ initiator }) => {
      const connector = await initiator.connector(plainCall);
      assert(connector.initiator !== undefined || connector.host !== undefined, 'the connector names nobody');
      assert.deepEqual(await initiator.connector(plainCall), connector);
    },
  },

  'connect-reaches': {
    verb: 'connect',
    contract: 'Values of `driverVolumeType` that it can connect to.',
    demand: 'the type of what is published is one of those that it reaches',
    run: async (bench) => {
      const { info } = await bench.publish();
      assert(bench.initiator.reaches.includes(info.driverVolumeType), `it does not reach ${info.driverVolumeType}`);
    },
  },

  'connect-serial': {
    verb: 'connect',
    contract: 'SCSI unit serial number (SPC-4, 7.8.15), as the target tells it.',
    demand: 'the device has the id of the volume as its serial number, and its size',
    run: async (bench) => {
      const { info, request } = await bench.publish();
      const device = await bench.connect(info);
      assert.equal(device.serial, request.volumeId);
      assert.equal(device.size, exportedSize);
      assert.equal(device.readOnly, false);
      await assertPattern(device, 0, 0, exportedSize, 'a new volume');
    },
  },

  'connect-other-volume': {
    verb: 'connect',
    contract: 'What is connected under the wrong serial number is another volume, and is never handed out.',
    demand: 'a target that has another volume than the one that is meant is refused',
    run: async (bench) => {
      const volume = await bench.publish();
      const info = bench.infoWith(volume, { volumeId: systemRandom.uuid() });
      await assert.rejects(bench.connect(info), { code: 'device-gone' });
      await bench.initiator.disconnect(info, plainCall);
      await bench.untilNoSession(volume);
      await bench.connect(volume.info);
    },
  },

  'connect-refused': {
    verb: 'connect',
    contract: refusals,
    demand: 'a wrong secret is refused as such, without telling it; the right one works afterwards',
    run: async (bench) => {
      const volume = await bench.publish();
      const secret = `wrong-${volume.request.secret}`;
      const refused = bench.connect(bench.infoWith(volume, { secret })).then(
        () => assert.fail('a wrong secret was taken'),
        (error: unknown) => error,
      );
      const error = await refused;
      assert(error instanceof Error && 'code' in error);
      assert.equal(error.code, 'not-permitted');
      assert(!error.message.includes(secret), 'the error tells the secret');
      const device = await bench.connect(volume.info);
      await assertPattern(device, 0, 0, MiB, 'the volume');
    },
  },

  'connect-unreachable': {
    verb: 'connect',
    contract: refusals,
    demand: 'a target that is not there cannot be reached',
    run: async (bench) => {
      const { info } = await bench.publish();
      await bench.publisher.transport.stop();
      await assert.rejects(bench.connect(info), { code: 'transport-failed' });
    },
  },

  'connect-several': {
    verb: 'connect',
    contract: 'Several connections to one volume may be open.',
    demand: 'connections to one volume see what each other writes, and the end of one leaves the others',
    run: async (bench) => {
      const { info } = await bench.publish();
      const [first, second] = await Promise.all([bench.connect(info), bench.connect(info)]);
      await writePattern(first, 1, 0, MiB);
      await first.flush();
      await assertPattern(second, 1, 0, MiB, 'seen by the other');
      await first.close();
      await writePattern(second, 2, 0, MiB);
      await assertPattern(second, 2, 0, MiB, 'after the end of the other');
    },
  },

  'connect-apart': {
    verb: 'connect',
    contract: 'Logs in where that has not been done, and opens the volume.',
    demand: 'volumes that are connected at the same time do not mix',
    run: async (bench) => {
      const volumes = await Promise.all(Array.from({ length: 4 }, () => bench.publish()));
      const devices = await Promise.all(volumes.map(({ info }) => bench.connect(info)));
      await Promise.all(devices.map((device, index) => writePattern(device, index + 1, 0, MiB)));
      await Promise.all(devices.map((device) => device.flush()));
      for (const [index, device] of devices.entries()) {
        assert.equal(device.serial, volumes[index]?.request.volumeId);
        await assertPattern(device, index + 1, 0, MiB, `volume ${index}`);
      }
    },
  },

  'connect-read-only': {
    verb: 'connect',
    contract: 'readonly readOnly: boolean;',
    demand: 'a device that is opened for reading does not write, nor does one of a read-only access',
    run: async (bench) => {
      const volume = await bench.publish();
      const reader = await bench.connect(volume.info, { readOnly: true });
      const refused = await bench.connect((await bench.publish({ readOnly: true })).info);
      for (const device of [reader, refused]) {
        assert.equal(device.readOnly, true);
        await assertPattern(device, 0, 0, MiB, 'the volume');
        await assert.rejects(device.write(pattern(1, 0, 4096), 0), { code: 'device-not-permitted' });
        await assert.rejects(device.writeZeroes(0, 4096), { code: 'device-not-permitted' });
        await assert.rejects(device.discard(0, 4096), { code: 'device-not-permitted' });
      }
      await assertPattern(await bench.beside(volume), 0, 0, MiB, 'the volume');
    },
  },

  'connect-aborted': {
    verb: 'connect',
    contract: 'Aborts when the work is cancelled or out of time; the callee stops soon',
    demand: 'no verb that is aborted before it begins does anything',
    run: async (bench) => {
      const volume = await bench.publish();
      const aborted = { ...plainCall, signal: AbortSignal.abort(new Error('aborted by the conformance suite')) };
      await assert.rejects(async () => bench.initiator.connector(aborted), 'connector');
      await assert.rejects(bench.connect(volume.info, { readOnly: false }, aborted), 'connect');
      await bench.untilNoSession(volume);
      const device = await bench.connect(volume.info);
      await assert.rejects(async () => bench.initiator.disconnect(volume.info, aborted), 'disconnect');
      await assertPattern(device, 0, 0, MiB, 'after a disconnect that was aborted');
    },
  },

  'connect-abort-settles': {
    verb: 'connect',
    contract: 'the callee stops soon and leaves nothing half-made that a repeat would trip over.',
    demand: 'connect ends soon after an abort; what is left of it can be disconnected, and connect works again',
    run: async (bench) => {
      const volume = await bench.publish();
      for (const turns of [0, 1, 2, 4, 8]) {
        const controller = new AbortController();
        const connecting = bench.connect(volume.info, { readOnly: false }, { ...plainCall, signal: controller.signal });
        const ended = Promise.allSettled([connecting]);
        for (let turn = 0; turn < turns; turn++) await stat(tmpdir());
        controller.abort(new Error('aborted by the conformance suite'));
        await bench.publisher.settles('a connect that was aborted', ended);
        await bench.initiator.disconnect(volume.info, plainCall);
        await bench.untilNoSession(volume);
      }
      const device = await bench.connect(volume.info);
      await assertPattern(device, 0, 0, MiB, 'the volume');
    },
  },
};
