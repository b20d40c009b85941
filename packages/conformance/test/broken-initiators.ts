import { setTimeout as sleep } from 'node:timers/promises';
import type { Connection } from '@scoria/conformance';
import { ScoriaError, type ConnectionInfo, type OpenOptions, type PluginCall, type WriteOptions } from '@scoria/core';
import { LoopbackDevice, LoopbackInitiator, type HostSessions, type PublishingTransport } from './loopback-initiator.ts';

/** An initiator that breaks one line of the contract, and the checks that must say so. */
export interface BrokenInitiator {
  readonly name: string;
  /** Ids; the first is the one that quotes the broken line. */
  readonly caughtBy: readonly [string, ...string[]];
  make(transport: PublishingTransport, sessions: HostSessions): LoopbackInitiator;
}

type DeviceClass = new (connection: Connection, options: OpenOptions) => LoopbackDevice;

/** An initiator whose devices are of a class. */
const withDevices =
  (device: DeviceClass): BrokenInitiator['make'] =>
  (transport, sessions) =>
    new (class extends LoopbackInitiator {
      protected override open(connection: Connection, options: OpenOptions) {
        return new device(connection, options);
      }
    })(transport, sessions);

let calls = 0;

/** Initiators whose verbs or devices do not do what they say. */
export const brokenInitiators: readonly BrokenInitiator[] = [
  {
    name: 'the connector is another one each time',
    caughtBy: ['connector-stable'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        override async connector() {
          return { host: `host-${++calls}` };
        }
      })(transport, sessions),
  },
  {
    name: 'another type of connection is promised',
    caughtBy: ['connect-reaches'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        override readonly reaches = ['rbd'];
      })(transport, sessions),
  },
  {
    name: 'the serial number is made up',
    caughtBy: ['connect-serial'],
    make: withDevices(
      class extends LoopbackDevice {
        override readonly serial = 'unknown';
      },
    ),
  },
  {
    name: 'the serial number is not looked at',
    caughtBy: ['connect-other-volume'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        protected override get verifies() {
          return false;
        }
      })(transport, sessions),
  },
  {
    name: 'a refusal is called a failure of the transport',
    caughtBy: ['connect-refused'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        protected override login(info: ConnectionInfo) {
          return super.login(info).catch(() => Promise.reject(new ScoriaError('transport-failed', 'no')));
        }
      })(transport, sessions),
  },
  {
    name: 'what cannot be reached is called gone',
    caughtBy: ['connect-unreachable'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        protected override login(info: ConnectionInfo) {
          return super.login(info).catch((error: unknown) => {
            if (ScoriaError.from(error).code === 'not-permitted') throw error;
            throw new ScoriaError('device-gone', 'no');
          });
        }
      })(transport, sessions),
  },
  {
    name: 'a new connection ends the one before',
    caughtBy: ['connect-several'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        protected override keep(info: ConnectionInfo, device: LoopbackDevice) {
          for (const other of this.sessions.get(this.keyOf(info)) ?? []) void other.drop();
          return super.keep(info, device);
        }
      })(transport, sessions),
  },
  {
    name: 'there is one slot for the connection under way',
    caughtBy: ['connect-apart'],
    make: (transport, sessions) => {
      let underWay: ConnectionInfo;
      return new (class extends LoopbackInitiator {
        override async connect(info: ConnectionInfo, options: OpenOptions, call: PluginCall) {
          underWay = info;
          await sleep(1);
          return super.connect(underWay, options, call);
        }
      })(transport, sessions);
    },
  },
  {
    name: 'a device that is opened for reading writes',
    caughtBy: ['connect-read-only'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        protected override open(connection: Connection) {
          return super.open(connection, { readOnly: false });
        }
      })(transport, sessions),
  },
  {
    name: 'an abort before the beginning is not seen',
    caughtBy: ['connect-aborted'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        override connect(info: ConnectionInfo, options: OpenOptions, call: PluginCall) {
          return super.connect(info, options, { ...call, signal: new AbortController().signal });
        }
      })(transport, sessions),
  },
  {
    name: 'a connect that was aborted never ends',
    caughtBy: ['connect-abort-settles'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        override async connect(info: ConnectionInfo, options: OpenOptions, call: PluginCall) {
          await sleep(1);
          if (call.signal.aborted) await new Promise(() => {});
          return super.connect(info, options, call);
        }
      })(transport, sessions),
  },
  {
    name: 'the last block of a write is forgotten',
    caughtBy: ['connected-content', 'connected-long'],
    make: withDevices(
      class extends LoopbackDevice {
        override write(data: Uint8Array, offset: number, options?: WriteOptions) {
          return super.write(data.length > 4096 ? data.subarray(0, -4096) : data, offset, options);
        }
      },
    ),
  },
  {
    name: 'a long read is cut short',
    caughtBy: ['connected-long'],
    make: withDevices(
      class extends LoopbackDevice {
        override read(into: Uint8Array, offset: number) {
          return super.read(into.subarray(0, 2 * 1024 * 1024), offset);
        }
      },
    ),
  },
  {
    name: 'calls at the same time share one buffer',
    caughtBy: ['connected-in-flight'],
    make: withDevices(
      class extends LoopbackDevice {
        readonly #shared = new Uint8Array(16 * 1024 * 1024);
        override async write(data: Uint8Array, offset: number, options?: WriteOptions) {
          this.#shared.set(data);
          await sleep(0);
          return super.write(this.#shared.subarray(0, data.length), offset, options);
        }
      },
    ),
  },
  {
    name: 'a write through stays in a cache',
    caughtBy: ['connected-through'],
    make: withDevices(
      class extends LoopbackDevice {
        override async write(data: Uint8Array, offset: number, options?: WriteOptions) {
          if (!options?.fua) return super.write(data, offset);
        }
      },
    ),
  },
  {
    name: 'a discard is forgotten',
    caughtBy: ['connected-discard'],
    make: withDevices(
      class extends LoopbackDevice {
        override async discard() {}
      },
    ),
  },
  {
    name: 'nothing is said to be allocated',
    caughtBy: ['connected-extents'],
    make: withDevices(
      class extends LoopbackDevice {
        override async *allocatedExtents() {}
      },
    ),
  },
  {
    name: 'a range beyond the end is a medium error',
    caughtBy: ['connected-range'],
    make: withDevices(
      class extends LoopbackDevice {
        override read(into: Uint8Array, offset: number) {
          return super.read(into, offset).catch(() => Promise.reject(new ScoriaError('device-medium-error', 'no')));
        }
      },
    ),
  },
  {
    name: 'the size is that of the beginning',
    caughtBy: ['connected-resize'],
    make: withDevices(
      class extends LoopbackDevice {
        override async refreshSize() {
          return this.size;
        }
      },
    ),
  },
  {
    name: 'close does not wait',
    caughtBy: ['connected-close'],
    make: withDevices(
      class extends LoopbackDevice {
        override async write(data: Uint8Array, offset: number, options?: WriteOptions) {
          await sleep(5);
          return super.write(data, offset, options);
        }
      },
    ),
  },
  {
    name: 'disconnect leaves the sessions',
    caughtBy: ['disconnect-ends', 'disconnect-fails-devices'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        override async disconnect() {}
      })(transport, sessions),
  },
  {
    name: 'what is disconnected fails as not permitted',
    caughtBy: ['disconnect-fails-devices'],
    make: withDevices(
      class extends LoopbackDevice {
        override async drop() {
          this.gone = new ScoriaError('device-not-permitted', 'no');
          await super.drop();
        }
      },
    ),
  },
  {
    name: 'a disconnect of what is not there fails',
    caughtBy: ['disconnect-repeated'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        override async disconnect(info: ConnectionInfo, call: PluginCall) {
          if (!this.sessions.has(this.keyOf(info))) throw new ScoriaError('not-found', 'not connected');
          await super.disconnect(info, call);
        }
      })(transport, sessions),
  },
  {
    name: 'disconnect ends all connections',
    caughtBy: ['disconnect-one'],
    make: (transport, sessions) =>
      new (class extends LoopbackInitiator {
        protected override keyOf() {
          return 'all';
        }
      })(transport, sessions),
  },
  {
    name: 'what a dead process connected is forgotten',
    caughtBy: ['disconnect-after-crash'],
    make: (transport) => new LoopbackInitiator(transport),
  },
];
