import { driverConformance, startDriver } from '@scoria/conformance';
import plugin from '@scoria/driver-file';
import { describe, test } from 'vitest';

for (const provisioning of ['thin', 'thick']) {
  const create = () => startDriver(plugin, { directory: 'volumes', provisioning });
  describe(provisioning, () => driverConformance({ describe, test, capabilities: plugin.capabilities, create }));
}
