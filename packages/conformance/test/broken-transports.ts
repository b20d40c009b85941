import {
  openPathDevice,
  ScoriaError,
  systemRandom,
  type ConnectionInfo,
  type DeviceLocator,
  type ExportRequest,
  type Log,
  type PluginCall,
} from '@scoria/core';
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
  const piece = new Uint8Array(256 * 1024);
  for (let offset = 0; offset < from.size; offset += piece.byteLength) {
    // Slow enough for others to come between on any machine.
    await turns(1);
    call.signal.throwIfAborted();
    await from.read(piece, offset);
    await to.write(piece, offset);
  }
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
    name: 'a half of an export is told as a whole one',
    caughtBy: ['half-made-told'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async list(call: PluginCall) {
          return (await super.list(call)).map((status) => ({ ...status, complete: true }));
        }
      })(log),
  },
  {
    name: 'a half of an export is taken for a whole one',
    caughtBy: ['half-made-completed'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          if (!this.exports.has(request.accessId)) await super.export(request, call);
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
    name: 'a hold does not look at its signal',
    caughtBy: ['hold-aborted'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override hold(volumeId: string, ms: number, call: PluginCall) {
          return super.hold(volumeId, ms, deaf(call));
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
];
