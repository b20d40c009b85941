import { createBlockStorage, type BlockStorage, type BlockStorageOptions, type RequestContext, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { createSqliteStore } from '@scoria/store-sql';

/** A caller of a project. */
export function caller(projectId: string, isAdmin = false): RequestContext {
  return {
    requestId: `req-${projectId}`,
    userId: `user-${projectId}`,
    projectId,
    roles: [isAdmin ? 'admin' : 'member'],
    isAdmin,
  };
}

/** An instance over one memory backend and a store in memory, without a transport. */
export async function memoryInstance(options: Partial<BlockStorageOptions> = {}): Promise<BlockStorage> {
  return createBlockStorage({
    store: createSqliteStore({ path: ':memory:' }),
    plugins: {
      backends: { memory: { plugin: memoryDriver({ backend: new MemoryBackend({ backendId: systemRandom.uuid() }) }) } },
    },
    accessKey: new Uint8Array(32),
    baseDirectory: '/',
    settings: { host: 'host' },
    ...options,
  });
}
