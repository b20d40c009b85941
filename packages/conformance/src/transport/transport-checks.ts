import { checksOf } from '../check.ts';
import { accessChecks } from './access-checks.ts';
import { exportChecks } from './export-checks.ts';
import { halfMadeChecks } from './half-made-checks.ts';
import { inFlightChecks } from './in-flight-checks.ts';
import { limitChecks } from './limit-checks.ts';
import { mirrorChecks } from './mirror-checks.ts';
import { pointInTimeChecks } from './point-in-time-checks.ts';
import { pointInTimeSessionChecks } from './point-in-time-session-checks.ts';
import { sessionChecks } from './session-checks.ts';
import type { TransportCheck } from './transport-check.ts';

/** Every demand on a transport, as data. */
export const transportChecks: readonly TransportCheck[] = [
  ...checksOf(exportChecks),
  ...checksOf(accessChecks),
  ...checksOf(halfMadeChecks, 'damage'),
  ...checksOf(sessionChecks, 'client'),
  ...checksOf(inFlightChecks, 'client'),
  ...checksOf(pointInTimeChecks, 'point-in-time'),
  ...checksOf(pointInTimeSessionChecks, 'point-in-time', 'client'),
  ...checksOf(mirrorChecks, 'mirror', 'client'),
  ...checksOf(limitChecks, 'limit', 'client'),
];
