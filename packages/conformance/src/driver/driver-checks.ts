import { checksOf } from '../check.ts';
import { backendChecks } from './backend-checks.ts';
import { capacityChecks } from './capacity-checks.ts';
import { cloneChecks, createFromSnapshotChecks, revertChecks } from './copy-checks.ts';
import { deviceChecks } from './device-checks.ts';
import type { DriverCheck } from './driver-check.ts';
import { extentChecks } from './extent-checks.ts';
import { guardChecks } from './guard-checks.ts';
import { manageChecks } from './manage-checks.ts';
import { cloneMomentChecks, oracleChecks } from './oracle-checks.ts';
import { raceChecks } from './race-checks.ts';
import { recoveryChecks } from './recovery-checks.ts';
import { shrinkChecks } from './shrink-checks.ts';
import { snapshotChecks } from './snapshot-checks.ts';
import { volumeChecks } from './volume-checks.ts';

/** Every demand on a volume driver, as data. */
export const driverChecks: readonly DriverCheck[] = [
  ...checksOf(backendChecks),
  ...checksOf(capacityChecks),
  ...checksOf(volumeChecks),
  ...checksOf(deviceChecks),
  ...checksOf(snapshotChecks),
  ...checksOf(oracleChecks),
  ...checksOf(raceChecks),
  ...checksOf(recoveryChecks),
  ...checksOf(guardChecks),
  ...checksOf(cloneChecks, 'clone'),
  ...checksOf(cloneMomentChecks, 'clone'),
  ...checksOf(createFromSnapshotChecks, 'create-from-snapshot'),
  ...checksOf(revertChecks, 'revert'),
  ...checksOf(shrinkChecks, 'shrink'),
  ...checksOf(manageChecks, 'manage'),
  ...checksOf(extentChecks, 'extents'),
];
