import {
  copyDevice,
  openPathDevice,
  ScoriaError,
  systemRandom,
  type ConnectionInfo,
  type DeviceLocator,
  type ExportRequest,
  type Log,
  type PluginCall,
} from '@scoria/core';
import type { Connection } from '@scoria/conformance';
import { turns } from './broken-driver.ts';
import { LoopbackTransport } from './loopback-transport.ts';

/** A transport that breaks one line of the contract, and the checks that must say so. */
export interface BrokenTransport {
  readonly name: string;
  /** Ids; the first is the one that quotes the broken line. */
  readonly caughtBy: readonly [string, ...string[]];
  make(log: Log): LoopbackTransport;
}

const deaf = (call: PluginCall): PluginCall => ({ ...call, signal: new AbortController().signal });

async function plainCopy(source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void> {
  await using opened = new AsyncDisposableStack();
  const from = opened.adopt(await openPathDevice(source, { readOnly: true }), (device) => device.close());
  const to = opened.adopt(await openPathDevice(target, { readOnly: false }), (device) => device.close());
  await copyDevice(from, to, call);
}

/** Transports whose verbs do not do what they say. */
export const brokenTransports: readonly BrokenTransport[] = [
  {
    name: 'another kind of device is promised',
    caughtBy: ['reaches'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override readonly reaches = ['rbd'];
      })(log),
  },
  {
    name: 'an export asked for again fails',
    caughtBy: ['export-repeated', 'export-race', 'export-fence', 'session-survives-repeat'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          if (this.exports.has(request.accessId)) throw new ScoriaError('conflict', 'exported already');
          await super.export(request, call);
        }
      })(log),
  },
  {
    name: 'an export asked for again ends the sessions of the first',
    caughtBy: ['session-survives-repeat'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          await this.end(request.accessId);
          await super.export(request, call);
        }
      })(log),
  },
  {
    name: 'there is one slot for the export under way',
    caughtBy: ['export-many-at-once'],
    make: (log) => {
      let underWay: ExportRequest;
      return new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          underWay = request;
          await turns(1);
          await super.export(underWay, call);
        }
      })(log);
    },
  },
  {
    name: 'unexport of what is unknown fails',
    caughtBy: ['unexport-repeated'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async unexport(accessId: string, call: PluginCall) {
          if (!this.exports.has(accessId)) throw new ScoriaError('not-found', 'unknown');
          await super.unexport(accessId, call);
        }
      })(log),
  },
  {
    name: 'unexport ends all accesses of the volume',
    caughtBy: ['unexport-one', 'unexport-fences', 'export-race-volume'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async unexport(accessId: string) {
          const volumeId = this.exports.get(accessId)?.request.volumeId;
          for (const [id, { request }] of this.exports) if (request.volumeId === volumeId) await this.end(id);
        }
      })(log),
  },
  {
    name: 'the last access of a volume is not counted',
    caughtBy: ['export-race-volume'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async unexport(accessId: string, call: PluginCall) {
          const volumeId = this.exports.get(accessId)?.request.volumeId;
          await super.unexport(accessId, call);
          if (volumeId !== undefined && this.exports.size < 2) this.units.delete(volumeId);
        }
      })(log),
  },
  {
    name: 'unexport settles before it is done',
    caughtBy: ['unexport-race', 'unexport-repeated'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async unexport(accessId: string) {
          void turns(2).then(() => this.end(accessId));
        }
      })(log),
  },
  {
    name: 'an export that failed is listed',
    caughtBy: ['export-missing-device'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          this.exports.set(request.accessId, { request, sessions: new Set() });
          await this.use(request.volumeId, request.device, request.accessId);
          await super.export(request, call);
        }
      })(log),
  },
  {
    name: 'export does not look at its signal',
    caughtBy: ['export-aborted'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override export(request: ExportRequest, call: PluginCall) {
          return super.export(request, deaf(call));
        }
      })(log),
  },
  {
    name: 'unexport does not look at its signal',
    caughtBy: ['verbs-aborted'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override unexport(accessId: string, call: PluginCall) {
          return super.unexport(accessId, deaf(call));
        }
      })(log),
  },
  {
    name: 'an aborted export never ends',
    caughtBy: ['access-abort-settles'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          await turns(3);
          if (call.signal.aborted) await new Promise(() => {});
          await super.export(request, call);
        }
      })(log),
  },
  {
    name: 'an aborted copy never ends',
    caughtBy: ['copy-abort-settles'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          await turns(3);
          if (call.signal.aborted) await new Promise(() => {});
          await super.copy(volumeId, source, target, call);
        }
      })(log),
  },
  {
    name: 'connection info is that of the export',
    caughtBy: ['info-from-request'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override connectionInfo(request: ExportRequest) {
          const info = super.connectionInfo(request);
          return { ...info, data: { ...info.data, exported: this.exports.has(request.accessId) } };
        }
      })(log),
  },
  {
    name: 'connection info of iSCSI lacks the portal',
    caughtBy: ['info-complete'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override connectionInfo(request: ExportRequest): ConnectionInfo {
          return { driverVolumeType: 'iscsi', data: { ...super.connectionInfo(request).data, target_lun: '0' } };
        }
      })(log),
  },
  {
    name: 'a volume has one target for all its accesses',
    caughtBy: ['info-target-own'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override connectionInfo({ volumeId, secret }: ExportRequest): ConnectionInfo {
          return { driverVolumeType: 'loopback', data: { volumeId, secret } };
        }
      })(log),
  },
  {
    name: 'the list tells the secret',
    caughtBy: ['secret-not-told'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async list(call: PluginCall) {
          return (await super.list(call)).map((status) => ({ ...status, request: this.exports.get(status.accessId)?.request }));
        }
      })(log),
  },
  {
    name: 'requests are logged as they come',
    caughtBy: ['secret-not-logged', 'login-not-logged'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          this.log.info({ request }, 'export');
          await super.export(request, call);
        }
      })(log),
  },
  {
    name: 'a refused login is logged with what was tried',
    caughtBy: ['login-not-logged'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async connect(info: ConnectionInfo) {
          this.log.warn({ login: info.data }, 'login');
          return super.connect(info);
        }
      })(log),
  },
  {
    name: 'resize of what is not exported fails',
    caughtBy: ['resize-unknown'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async resize(volumeId: string, call: PluginCall) {
          if (!this.units.has(volumeId)) throw new ScoriaError('not-found', 'not exported');
          await super.resize(volumeId, call);
        }
      })(log),
  },
  {
    name: 'resize does nothing',
    caughtBy: ['resize-seen'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async resize() {}
      })(log),
  },
  {
    name: 'a hold of what is not exported gets a token',
    caughtBy: ['hold-unknown'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async hold(volumeId: string, ms: number, call: PluginCall) {
          return (await super.hold(volumeId, ms, call)) ?? systemRandom.uuid();
        }
      })(log),
  },
  {
    name: 'every release tells that writes were held',
    caughtBy: ['release-once', 'hold-ends'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async release(token: string, call: PluginCall) {
          await super.release(token, call);
          return { held: true };
        }
      })(log),
  },
  {
    name: 'a hold holds nothing',
    caughtBy: ['hold-holds'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async hold(volumeId: string, ms: number, call: PluginCall) {
          const token = await super.hold(volumeId, ms, call);
          if (token !== null) await super.release(token, call);
          return token;
        }
        override async release() {
          return { held: true };
        }
      })(log),
  },
  {
    name: 'there is one hold for the whole target',
    caughtBy: ['hold-apart', 'hold-one-volume'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async hold(volumeId: string, ms: number, call: PluginCall) {
          let token: string | null = null;
          for (const id of this.units.keys()) token = await super.hold(id, ms, call);
          return this.units.has(volumeId) ? token : null;
        }
      })(log),
  },
  {
    name: 'a copy fills holes',
    caughtBy: ['copy-content'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          await super.copy(volumeId, source, target, call);
          const device = await openPathDevice(target, { readOnly: false });
          const content = new Uint8Array(device.size);
          await device.read(content, 0);
          await device.write(content, 0, { fua: true });
          await device.close();
        }
      })(log),
  },
  {
    name: 'a copy tells nothing of its progress',
    caughtBy: ['copy-progress'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          return super.copy(volumeId, source, target, { ...call, progress: () => {} });
        }
      })(log),
  },
  {
    name: 'a copy of what is missing is empty',
    caughtBy: ['copy-missing'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          return super.copy(volumeId, source, target, call).catch((error: unknown) => {
            if (!(error instanceof ScoriaError) || error.code !== 'device-gone') throw error;
          });
        }
      })(log),
  },
  {
    name: 'a copy is a smear',
    caughtBy: ['copy-moment', 'copy-then-export'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override copy(_volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          return plainCopy(source, target, call);
        }
      })(log),
  },
  {
    name: 'a copy of what is not exported does not see the export that comes',
    caughtBy: ['copy-then-export'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override copy(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall) {
          return this.units.has(volumeId) ? super.copy(volumeId, source, target, call) : plainCopy(source, target, call);
        }
      })(log),
  },
  {
    name: 'stop leaves the exports',
    caughtBy: ['stop-ends-all', 'restart-content', 'start-again'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async stop() {}
      })(log),
  },
  {
    name: 'a repeated start begins from nothing',
    caughtBy: ['start-again'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async start() {
          await this.stop();
        }
      })(log),
  },
  {
    name: 'a repeat with the same token is refused',
    caughtBy: ['export-fence'],
    make: (log) => {
      const seen = new Map<string, number>();
      return new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          if (call.fence <= (seen.get(request.accessId) ?? 0)) throw new ScoriaError('stale-fence', 'seen before');
          seen.set(request.accessId, call.fence);
          await super.export(request, call);
        }
      })(log);
    },
  },
  {
    name: 'stats are told per access',
    caughtBy: ['stats-volumes'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async stats(call: PluginCall) {
          const units = await super.stats(call);
          return Array.from(this.exports.values(), ({ request }) => request.volumeId).flatMap((volumeId) =>
            units.filter((unit) => unit.volumeId === volumeId),
          );
        }
      })(log),
  },
  {
    name: 'stats stay at zero',
    caughtBy: ['stats-count'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async stats(call: PluginCall) {
          return (await super.stats(call)).map(({ volumeId }) => ({
            volumeId,
            readBytes: 0,
            writtenBytes: 0,
            reads: 0,
            writes: 0,
          }));
        }
      })(log),
  },
  {
    name: 'sessions are not listed',
    caughtBy: ['session-listed'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async list(call: PluginCall) {
          return (await super.list(call)).map((status) => ({ ...status, sessions: [] }));
        }
      })(log),
  },
  {
    name: 'unexport leaves sessions alone',
    caughtBy: ['unexport-fences', 'unexport-final'],
    make: (log) =>
      new (class extends LoopbackTransport {
        protected override async end(accessId: string) {
          this.exports.delete(accessId);
        }
      })(log),
  },
  {
    name: 'any secret will do',
    caughtBy: ['secret-wrong'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override connect(info: ConnectionInfo) {
          const found = this.exports.get(String(info.data['accessId']));
          return super.connect({ ...info, data: { ...info.data, secret: found?.request.secret } });
        }
      })(log),
  },
  {
    name: 'any secret of the volume will do',
    caughtBy: ['secret-other'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override connect(info: ConnectionInfo) {
          const { secret, volumeId, accessId } = info.data;
          const requests = Array.from(this.exports.values(), ({ request }) => request);
          const known = requests.some((request) => request.volumeId === volumeId && request.secret === secret);
          const own = requests.find((request) => request.accessId === accessId)?.secret;
          return super.connect({ ...info, data: { ...info.data, secret: known ? own : secret } });
        }
      })(log),
  },
  connectionBroken('what is read is stale', ['session-content'], (session) => ({
    ...session,
    read: async (into) => void into.fill(0),
  })),
  connectionBroken('flush does nothing, and writes wait for it', ['session-content', 'restart-content'], (session) => {
    const cache: [Uint8Array, number][] = [];
    return {
      ...session,
      write: async (data, offset) => void cache.push([data.slice(), offset]),
      read: async (into, offset) => {
        await session.read(into, offset);
        for (const [data, at] of cache) if (at === offset) into.set(data.subarray(0, into.byteLength));
      },
      flush: async () => {},
    };
  }),
  connectionBroken('the serial number is another one', ['session-serial'], (session) => ({ ...session, serial: 'SCORIA000001' })),
  connectionBroken('accesses of one volume have caches of their own', ['session-shared-unit'], (session) => {
    const seen = new Map<string, Uint8Array>();
    const key = (offset: number, length: number) => `${offset}+${length}`;
    return {
      ...session,
      write: async (data, offset) => {
        await session.write(data, offset);
        seen.set(key(offset, data.byteLength), data.slice());
      },
      read: async (into, offset) => {
        const known = seen.get(key(offset, into.byteLength));
        if (known) return into.set(known);
        await session.read(into, offset);
      },
    };
  }),
  {
    name: 'read-only is advice',
    caughtBy: ['session-read-only'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override connect(info: ConnectionInfo) {
          const found = this.exports.get(String(info.data['accessId']));
          if (found) this.exports.set(found.request.accessId, { ...found, request: { ...found.request, readOnly: false } });
          return super.connect(info);
        }
      })(log),
  },
  {
    name: 'all sessions reach the volume that was exported first',
    caughtBy: ['session-apart'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override connect(info: ConnectionInfo) {
          const [volumeId = info.data['volumeId']] = this.units.keys();
          return super.connect({ ...info, data: { ...info.data, volumeId } });
        }
      })(log),
  },
  {
    name: 'a hold does not end by itself',
    caughtBy: ['hold-ends'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override hold(volumeId: string, _ms: number, call: PluginCall) {
          return super.hold(volumeId, 60_000, call);
        }
      })(log),
  },
];

/** A transport whose sessions are not sound. */
function connectionBroken(
  name: string,
  caughtBy: BrokenTransport['caughtBy'],
  change: (session: Connection) => Connection,
): BrokenTransport {
  return {
    name,
    caughtBy,
    make: (log) =>
      new (class extends LoopbackTransport {
        override async connect(info: ConnectionInfo) {
          return change(await super.connect(info));
        }
      })(log),
  };
}
