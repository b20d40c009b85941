/**
 * Block storage inside another program: no HTTP, no process of its own, nothing global. In a checkout, after
 * `npm run build:js`: `node examples/embed.ts`.
 */
import { randomBytes } from 'node:crypto';
import { createBlockStorage, type BlockStorage, type RequestContext, type StoredEvent } from '@scoria/core';
import memory from '@scoria/driver-memory';
import { createSqliteStore } from '@scoria/store-sql';

const gibibyte = 2 ** 30;
const patience = 10_000;

/** An instance with everything in memory. For one that lasts: a store with a file as its path, driver-file, and a key that is kept. */
export async function startStorage(): Promise<BlockStorage> {
  return createBlockStorage({
    store: createSqliteStore({ path: ':memory:' }),
    plugins: { backends: { memory: { plugin: memory } } },
    accessKey: randomBytes(32),
    baseDirectory: import.meta.dirname,
  });
}

/** Makes a volume and a snapshot of it, and returns the events that told of it. */
export async function tour(storage: BlockStorage, projectId: string): Promise<readonly StoredEvent[]> {
  const { volumes, snapshots, operations, events } = storage;
  // Whoever embeds decides who the caller is.
  const caller: RequestContext = { requestId: 'req-tour', userId: 'guide', projectId, roles: ['member'], isAdmin: false };
  const heard: StoredEvent[] = [];
  using _subscription = events.subscribe(caller, (event) => heard.push(event));

  const { volume, operationId } = await volumes.create(caller, { size: gibibyte, name: 'first' });
  await operations.wait(operationId, patience);

  const made = await snapshots.create(caller, { volumeId: volume.id, name: 'before the change' });
  await operations.wait(made.operationId, patience);
  return heard;
}

if (import.meta.main) {
  const storage = await startStorage();
  for (const { name, payload } of await tour(storage, 'my-project')) console.log(name, payload['status'] ?? '');
  await storage.stop();
}
