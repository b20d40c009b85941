import type { Connection } from '@scoria/conformance';
import { type ConnectionInfo, type ExportRequest, type PluginCall } from '@scoria/core';
import { turns } from './broken-driver.ts';
import type { BrokenTransport } from './broken-transports.ts';
import { LoopbackTransport } from './loopback-transport.ts';

/** Transports whose sessions are not what a client may rely on. */
export const brokenSessions: readonly BrokenTransport[] = [
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
    name: 'an access keeps the secret that it had first',
    caughtBy: ['secret-changed'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override export(request: ExportRequest, call: PluginCall) {
          return super.export({ ...request, secret: this.exports.get(request.accessId)?.request.secret ?? request.secret }, call);
        }
      })(log),
  },
  {
    name: 'an export is told as complete before it is',
    caughtBy: ['complete-true'],
    make: (log) =>
      new (class extends LoopbackTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          await super.export(request, call);
          this.opening.add(request.accessId);
          await turns(2);
          if (call.signal.aborted) throw new Error('aborted');
          this.opening.delete(request.accessId);
        }
        override connect(info: ConnectionInfo) {
          if (this.opening.has(String(info.data['accessId']))) throw new Error('nobody listens');
          return super.connect(info);
        }
        private readonly opening = new Set<string>();
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
