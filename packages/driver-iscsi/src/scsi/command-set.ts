import { atomicCommands } from './atomic-commands.ts';
import { blockCommands } from './block-commands.ts';
import { CommandTable } from './command-table.ts';
import { modeCommands } from './mode-commands.ts';
import { persistentReserveCommands } from './persistent-reserve-commands.ts';
import { primaryCommands } from './primary-commands.ts';
import { provisioningCommands } from './provisioning-commands.ts';
import { reserveCommands } from './reserve-commands.ts';
import { supportedCommands } from './supported-commands.ts';
import { verifyCommands } from './verify-commands.ts';

/** Every command of a direct access block device that is implemented here. */
export const blockDeviceCommands = new CommandTable([
  ...primaryCommands,
  ...supportedCommands,
  ...modeCommands,
  ...blockCommands,
  ...verifyCommands,
  ...atomicCommands,
  ...provisioningCommands,
  ...reserveCommands,
  ...persistentReserveCommands,
]);
