import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { createBlockStorage, systemRandom, type BlockStorage, type RequestContext } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import allocatedCapacityWeigher from '@scoria/scheduler-weighers/allocated-capacity-weigher';
import availabilityZoneFilter from '@scoria/scheduler-weighers/availability-zone-filter';
import capabilitiesFilter from '@scoria/scheduler-weighers/capabilities-filter';
import capacityFilter from '@scoria/scheduler-weighers/capacity-filter';
import capacityWeigher from '@scoria/scheduler-weighers/capacity-weigher';
import { createSqliteStore } from '@scoria/store-sql';

/** Bytes of a gibibyte. */
export const gibibyte = 2 ** 30;

/** Large enough for every volume of a run. */
const pool = { name: 'pool', total: 2 ** 50, thin: true, maxOverSubscription: 20, reserved: 0 };

/** Limits that are checked and never reached: no limit at all would spare the service the counting. */
export const highQuotas = { volumes: 10_000_000, gigabytes: 100_000_000 };

/** An administrator of a project. */
export function administrator(projectId: string): RequestContext {
  return { requestId: 'req-bench', userId: 'bench', projectId, roles: ['admin'], isAdmin: true };
}

/** Block storage in this process: driver-memory, the scheduling of the default configuration, and SQLite in a file. */
export async function openMemoryStorage(directory: string, backend: MemoryBackend = memoryBackend()): Promise<BlockStorage> {
  const storage = await createBlockStorage({
    store: createSqliteStore({ path: join(directory, 'scoria.db') }),
    plugins: {
      backends: { memory: { plugin: memoryDriver({ backend }) } },
      filters: [{ plugin: availabilityZoneFilter }, { plugin: capabilitiesFilter }, { plugin: capacityFilter }],
      weighers: [{ plugin: capacityWeigher }, { plugin: allocatedCapacityWeigher }],
    },
    accessKey: systemRandom.bytes(32),
    baseDirectory: directory,
    settings: { host: 'bench' },
  });
  await storage.quotas.updateDefaults(administrator('any'), highQuotas);
  return storage;
}

/** A backend that keeps its identity from one {@link openMemoryStorage} to the next. */
export function memoryBackend(): MemoryBackend {
  return new MemoryBackend({ backendId: systemRandom.uuid(), pools: [pool] });
}

/**
 * Writes the configuration of a service that is made of the same parts. Its backend has the identity given, so that the
 * service and {@link openMemoryStorage} can take turns at one store. Returns the file's path.
 */
export async function writeMemoryConfiguration(directory: string, backendId: string): Promise<string> {
  const [file, plugin] = [join(directory, 'bench.yaml'), join(directory, 'driver.js')];
  const driver = pathToFileURL(join(import.meta.dirname, '../../packages/driver-memory/dist/index.js')).href;
  await writeFile(
    plugin,
    `import { MemoryBackend, memoryDriver } from ${JSON.stringify(driver)};
const backend = new MemoryBackend(${JSON.stringify({ backendId, pools: [pool] })});
export default memoryDriver({ backend });
`,
  );
  const weighers = '@scoria/scheduler-weighers';
  await writeFile(
    file,
    `host: bench
backends:
  memory:
    plugin: ./driver.js
scheduler:
  filters:
    - plugin: '${weighers}/availability-zone-filter'
    - plugin: '${weighers}/capabilities-filter'
    - plugin: '${weighers}/capacity-filter'
  weighers:
    - plugin: '${weighers}/capacity-weigher'
    - plugin: '${weighers}/allocated-capacity-weigher'
`,
  );
  return file;
}
