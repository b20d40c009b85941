import { createSqliteStore } from '@scoria/store-sql';
import { expect, it } from 'vitest';
import { caller, memoryInstance } from './instance.ts';

it('the service of a backend that is out of order is down, and up again with its backend', async () => {
  const store = createSqliteStore({ path: ':memory:' });
  const storage = await memoryInstance({ store });
  try {
    const volumeService = async () =>
      (await storage.services.list(caller('root', true))).find(({ binary }) => binary === 'cinder-volume');
    expect(await volumeService()).toMatchObject({ host: 'host@memory', state: 'up' });
    const [backend] = await store.reading.backends.list();
    if (!backend) throw new Error('There is no backend');
    for (const fault of ['The group lacks a disk', null]) {
      await store.transaction(({ backends }) => backends.report({ ...backend, fault }));
      expect(await volumeService()).toMatchObject({ state: fault === null ? 'up' : 'down' });
    }
  } finally {
    await storage.stop();
  }
});
