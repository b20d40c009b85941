import { driverConformance, startDriver } from '@scoria/conformance';
import {
  definePlugin,
  ScoriaError,
  systemRandom,
  type BackendObject,
  type CreatedCopy,
  type DeviceLocator,
  type ListedObject,
  type Plugin,
  type PluginCall,
} from '@scoria/core';
import { MemoryBackend, memoryDriver, MemoryDriver, type MemoryObject } from '@scoria/driver-memory';
import { expect, test } from 'vitest';
import { CollectingRunner } from './collecting-runner.ts';

/** Each breaks one promise of a sound driver; the suite must say which. */
const broken: Record<string, { driver: (backend: MemoryBackend, installationId: string) => MemoryDriver; caughtBy: string }> = {
  'create wipes what is there': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        override async create(request: BackendObject, call: PluginCall) {
          await this.delete(request, call);
          return super.create(request, call);
        }
      })(backend, installation),
    caughtBy: 'a repeated create gives the same volume and leaves its content',
  },
  'create fails when it is repeated': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        override async create(request: BackendObject, call: PluginCall) {
          if (backend.objects.has(request.placementId)) throw new ScoriaError('conflict', 'it is there already');
          return super.create(request, call);
        }
      })(backend, installation),
    caughtBy: 'a create whose reply was lost in a crash is found again, or removed, without its reference',
  },
  'delete of what is gone fails': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        override async delete(volume: BackendObject, call: PluginCall) {
          await this.locate(volume, call);
          await super.delete(volume, call);
        }
      })(backend, installation),
    caughtBy: 'delete removes a volume, and may be repeated',
  },
  'a new volume holds the bytes of a deleted one': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        #garbage: Uint8Array | undefined;
        override async delete(volume: BackendObject, call: PluginCall) {
          const object = backend.objects.get(volume.placementId);
          if (object) object.read((this.#garbage = new Uint8Array(object.size)), 0);
          await super.delete(volume, call);
        }
        override async create(request: BackendObject, call: PluginCall) {
          const created = await super.create(request, call);
          if (this.#garbage?.byteLength === created.size) backend.objects.get(created.backendRef)?.write(this.#garbage, 0);
          return created;
        }
      })(backend, installation),
    caughtBy: 'the bytes of a deleted volume do not show up in a new one',
  },
  'a snapshot is the volume itself': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        readonly #origins = new Map<string, BackendObject>();
        override async createSnapshot(snapshot: BackendObject, volume: BackendObject, call: PluginCall): Promise<CreatedCopy> {
          this.#origins.set(snapshot.placementId, volume);
          return super.createSnapshot(snapshot, volume, call);
        }
        override async locate(object: BackendObject, call: PluginCall): Promise<DeviceLocator> {
          return super.locate(this.#origins.get(object.placementId) ?? object, call);
        }
      })(backend, installation),
    caughtBy: 'a snapshot stays as it is while its volume changes',
  },
  'references are kept in memory only': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        readonly #known = new Set<string>();
        override async create(request: BackendObject, call: PluginCall) {
          this.#known.add(request.placementId);
          return super.create(request, call);
        }
        override async locate(object: BackendObject, call: PluginCall) {
          const { kind }: Pick<MemoryObject, 'kind'> = backend.objects.get(object.placementId) ?? { kind: 'volume' };
          if (kind === 'volume' && !this.#known.has(object.placementId))
            throw new ScoriaError('backend-object-missing', 'unknown');
          return super.locate(object, call);
        }
      })(backend, installation),
    caughtBy: 'a new driver finds everything by its reference',
  },
  'aborts are ignored': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        override create(request: BackendObject, call: PluginCall) {
          return super.create(request, { ...call, signal: new AbortController().signal });
        }
      })(backend, installation),
    caughtBy: 'a call that is aborted before it begins does nothing',
  },
  'used bytes are the size': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        override async *list(call: PluginCall): AsyncGenerator<ListedObject> {
          for await (const object of super.list(call)) yield { ...object, usedBytes: object.size };
        }
      })(backend, installation),
    caughtBy: 'used bytes are what a volume takes',
  },
  'revert does nothing and says that it is done': {
    driver: (backend, installation) =>
      new (class extends MemoryDriver {
        override revert() {
          return Promise.resolve({ done: true });
        }
      })(backend, installation),
    caughtBy: 'revert puts the volume back, drops what came later, and may be repeated; the snapshot stays',
  },
};

function suiteOver(make: () => Plugin<'driver'>): CollectingRunner {
  const { capabilities } = make();
  const runner = new CollectingRunner();
  driverConformance({ describe: runner.describe, test: runner.test, capabilities, create: () => startDriver(make()) });
  return runner;
}
const newBackend = () => new MemoryBackend({ backendId: systemRandom.uuid() });

test('a sound driver passes', async () => {
  expect(await suiteOver(() => memoryDriver({ backend: newBackend() })).failures()).toEqual([]);
});

test.each(Object.entries(broken))('the suite catches: %s', async (_what, { driver, caughtBy }) => {
  const runner = suiteOver(() => {
    const backend = newBackend();
    const sound = memoryDriver({ backend });
    return {
      ...sound,
      create: (context) => {
        sound.create(context);
        return driver(backend, context.installationId);
      },
    };
  });
  await expect(runner.run(caughtBy)).rejects.toThrow();
});

test('a driver that does nothing passes no test but that of the empty list', async () => {
  const nothing = definePlugin({
    name: 'nothing',
    kind: 'driver',
    api: '^1.0',
    config: memoryDriver({ backend: newBackend() }).config,
    create: () => ({
      check: async () => ({ backendId: '' }),
      pools: async () => [],
      create: async () => ({ backendRef: 'x', size: 0 }),
      delete: async () => {},
      extend: async (_volume, size) => ({ size }),
      createSnapshot: async () => ({ backendRef: 'x', size: 0, filled: true }),
      deleteSnapshot: async () => {},
      list: async function* () {},
      locate: async () => ({ kind: 'none', path: 'none', blockSize: 512 }),
    }),
  });
  const runner = new CollectingRunner();
  driverConformance({ describe: runner.describe, test: runner.test, capabilities: [], create: () => startDriver(nothing) });
  const failures = await runner.failures();
  expect(runner.names.filter((name) => !failures.includes(name))).toEqual(['list of an empty backend is empty']);
});
