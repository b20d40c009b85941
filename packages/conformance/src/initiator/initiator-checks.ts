import { checksOf } from '../check.ts';
import { connectChecks } from './connect-checks.ts';
import { connectedDeviceChecks } from './connected-device-checks.ts';
import { disconnectChecks, hostSessionChecks } from './disconnect-checks.ts';
import type { InitiatorCheck } from './initiator-check.ts';

/** Every demand on an initiator, as data. */
export const initiatorChecks: readonly InitiatorCheck[] = [
  ...checksOf(connectChecks),
  ...checksOf(connectedDeviceChecks),
  ...checksOf(disconnectChecks),
  ...checksOf(hostSessionChecks, 'host-sessions'),
];
