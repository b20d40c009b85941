import { blockCommands } from './block-commands.ts';
import { CommandTable } from './command-table.ts';
import { primaryCommands } from './primary-commands.ts';
import { provisioningCommands } from './provisioning-commands.ts';

/** Every command of a direct access block device that is implemented here. */
export const blockDeviceCommands = new CommandTable([...primaryCommands, ...blockCommands, ...provisioningCommands]);
