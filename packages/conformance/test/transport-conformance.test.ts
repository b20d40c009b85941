import { fileVolumes, transportConformance } from '@scoria/conformance';
import { copyDevice, openPathDevice, type DeviceLocator, type ExportRequest, type PluginCall } from '@scoria/core';
import { describe, expect, test } from 'vitest';
import { CollectingRunner } from './collecting-runner.ts';
import { LoopbackTransport } from './loopback-transport.ts';

function suiteOver(make: () => LoopbackTransport) {
  let transport: LoopbackTransport;
  return {
    create: async () => {
      transport = make();
      return { transport, volumes: await fileVolumes(), cleanup: async () => {} };
    },
    connect: (info: Parameters<LoopbackTransport['connect']>[0]) => transport.connect(info),
  };
}

transportConformance({ describe, test, ...suiteOver(() => new LoopbackTransport()) });

/** Each breaks one promise of a sound transport; the suite must say which. */
const broken: Record<string, { make: () => LoopbackTransport; caughtBy: string }> = {
  'unexport leaves sessions alone': {
    make: () =>
      new (class extends LoopbackTransport {
        protected override async end(accessId: string) {
          this.exports.delete(accessId);
        }
      })(),
    caughtBy: 'after unexport nothing is written any more, and the old secret is refused',
  },
  'unexport of what is unknown fails': {
    make: () =>
      new (class extends LoopbackTransport {
        override async unexport(accessId: string, call: PluginCall) {
          if (!this.exports.has(accessId)) throw new Error('unknown');
          await super.unexport(accessId, call);
        }
      })(),
    caughtBy: 'unexport ends an access, may be repeated, and succeeds for one that never was',
  },
  'a copy is a smear': {
    make: () =>
      new (class extends LoopbackTransport {
        override async copy(_volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          const [from, to] = [
            await openPathDevice(source, { readOnly: true }),
            await openPathDevice(target, { readOnly: false }),
          ];
          await copyDevice(from, to, call);
          await from.close();
          await to.close();
        }
      })(),
    caughtBy: 'a copy of a volume in use is a point in time',
  },
  'a hold holds nothing': {
    make: () =>
      new (class extends LoopbackTransport {
        override async hold(volumeId: string, ms: number) {
          const token = await super.hold(volumeId, ms);
          if (token !== null) await super.release(token);
          return token;
        }
        override release() {
          return Promise.resolve({ held: true });
        }
      })(),
    caughtBy: 'a hold keeps writes back until it is released, and lets reads pass',
  },
  'any secret will do': {
    make: () =>
      new (class extends LoopbackTransport {
        override connectionInfo(request: ExportRequest) {
          return super.connectionInfo(this.exports.get(request.accessId)?.request ?? request);
        }
      })(),
    caughtBy: 'a wrong secret is refused',
  },
};

test.each(Object.entries(broken))('the suite catches: %s', async (_what, { make, caughtBy }) => {
  const runner = new CollectingRunner();
  transportConformance({ describe: runner.describe, test: runner.test, ...suiteOver(make) });
  await expect(runner.run(caughtBy)).rejects.toThrow();
});
