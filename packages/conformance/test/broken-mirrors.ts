import { ScoriaError, type BlockDevice, type DeviceLocator, type PluginCall } from '@scoria/core';
import { turns } from './broken-driver.ts';
import type { BrokenTransport } from './broken-transports.ts';
import { MirroringTransport } from './mirroring-transport.ts';

/** Transports whose mirrors lose something. */
export const brokenMirrors: readonly BrokenTransport[] = [
  {
    name: 'a mirror is a copy that ends',
    caughtBy: ['mirror-both', 'mirror-not-exported', 'mirror-target'],
    make: (log) =>
      new (class extends MirroringTransport {
        protected override both(source: BlockDevice) {
          return source;
        }
      })(log),
  },
  {
    name: 'a mirror leaves out what was there before',
    caughtBy: ['mirror-both', 'mirror-repeated', 'mirror-aborted'],
    make: (log) =>
      new (class extends MirroringTransport {
        protected override async fill() {}
      })(log),
  },
  {
    name: 'a second mirror is refused',
    caughtBy: ['mirror-repeated'],
    make: (log) =>
      new (class extends MirroringTransport {
        override async mirror(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          if (this.mirrors.has(volumeId)) throw new ScoriaError('conflict', 'mirrored already');
          await super.mirror(volumeId, source, target, call);
        }
      })(log),
  },
  {
    name: 'only what is exported can be mirrored',
    caughtBy: ['mirror-not-exported'],
    make: (log) =>
      new (class extends MirroringTransport {
        override async mirror(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          if (!this.units.has(volumeId)) throw new ScoriaError('not-found', 'not exported');
          await super.mirror(volumeId, source, target, call);
        }
      })(log),
  },
  ...(['target', 'source'] as const).map((kept): BrokenTransport => {
    const other = kept === 'target' ? 'source' : 'target';
    return {
      name: `a mirror that ends for the ${kept} goes on with the ${other}`,
      caughtBy: [`mirror-${kept}`],
      make: (log) =>
        new (class extends MirroringTransport {
          override endMirror(volumeId: string, _keep: 'source' | 'target', call: PluginCall) {
            return super.endMirror(volumeId, other, call);
          }
        })(log),
    };
  }),
  {
    name: 'ending what is not there fails',
    caughtBy: ['mirror-none', 'mirror-target'],
    make: (log) =>
      new (class extends MirroringTransport {
        override async endMirror(volumeId: string, keep: 'source' | 'target', call: PluginCall) {
          if (!this.mirrors.has(volumeId)) throw new ScoriaError('not-found', 'no mirror');
          await super.endMirror(volumeId, keep, call);
        }
      })(log),
  },
  {
    name: 'commit says yes to everything',
    caughtBy: ['mirror-commit-none'],
    make: (log) =>
      new (class extends MirroringTransport {
        override async commitMirror() {}
      })(log),
  },
  {
    name: 'a mirror to nothing succeeds',
    caughtBy: ['mirror-failed'],
    make: (log) =>
      new (class extends MirroringTransport {
        override async mirror(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          await super.mirror(volumeId, source, target, call).catch(() => {});
        }
      })(log),
  },
  {
    name: 'an aborted mirror never ends',
    caughtBy: ['mirror-aborted'],
    make: (log) =>
      new (class extends MirroringTransport {
        override async mirror(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          await turns(1);
          if (call.signal.aborted) await new Promise(() => {});
          await super.mirror(volumeId, source, target, call);
        }
      })(log),
  },
];
