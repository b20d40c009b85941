import type { ConnectedDevice, ConnectionInfo, PluginCall } from '@scoria/core';
import { silentLog, systemClock, systemRandom } from '@scoria/core/device';
import { IscsiInitiator, type IscsiInitiatorOptions } from '../src/initiator/index.ts';
import { accessId, iqn, secret, volumeId } from './target-fixture.ts';

/** A call that nobody aborts. */
export const plainCall: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

/** Times that a test can wait for, ms. */
export const shortTimes = {
  loginDeadline: 2_000,
  patience: 3_000,
  pingInterval: 1_000,
  commandDeadline: 2_000,
  answerDeadline: 1_000,
};

export const initiatorName = 'iqn.2026-11.test:host';

/** An initiator with short patience. */
export function makeInitiator(options: Partial<IscsiInitiatorOptions> = {}): IscsiInitiator {
  return new IscsiInitiator({
    initiatorName,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    times: shortTimes,
    ...options,
  });
}

/** What a client of the fixture's access is told; `changes` replace some of it. */
export function infoOf(port: number, changes: Readonly<Record<string, unknown>> = {}): ConnectionInfo {
  return {
    driverVolumeType: 'iscsi',
    data: {
      target_portal: `127.0.0.1:${port}`,
      target_iqn: iqn(),
      target_lun: 0,
      volume_id: volumeId,
      auth_method: 'CHAP',
      auth_username: accessId,
      auth_password: secret,
      ...changes,
    },
  };
}

/** Connects for writing. */
export function connectDevice(
  port: number,
  options: Partial<IscsiInitiatorOptions> = {},
  changes: Readonly<Record<string, unknown>> = {},
): Promise<ConnectedDevice> {
  return makeInitiator(options).connect(infoOf(port, changes), { readOnly: false }, plainCall);
}
