import { driverConformance, startDriver } from '@scoria/conformance';
import plugin from '@scoria/driver-file';
import { describe, test } from 'vitest';

const create = () => startDriver(plugin, { directory: 'volumes', provisioning: 'thin' });
driverConformance({ describe, test, capabilities: plugin.capabilities, create });
