import { ScoriaError, type ConnectionInfo, type ExportRequest, type IoLimits, type PluginCall } from '@scoria/core';
import type { BrokenTransport } from './broken-transports.ts';
import { LimitingTransport, Pace, type Direction } from './limiting-transport.ts';

/** Transports that do not hold volumes to their limits, or hold those that have none. */
export const brokenLimits: readonly BrokenTransport[] = [
  {
    name: 'limits of an export are ignored',
    caughtBy: ['limit-export', 'limit-shared', 'limit-repeated', 'limit-quantities'],
    make: (log) =>
      new (class extends LimitingTransport {
        override export(request: ExportRequest, call: PluginCall) {
          return super.export({ ...request, limits: undefined }, call);
        }
      })(log),
  },
  {
    name: 'an export without limits leaves those of before',
    caughtBy: ['limit-absent'],
    make: (log) => {
      const known = new Map<string, IoLimits>();
      return new (class extends LimitingTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          const limits = request.limits ?? known.get(request.volumeId);
          if (limits) known.set(request.volumeId, limits);
          await super.export({ ...request, limits }, call);
        }
      })(log);
    },
  },
  {
    name: 'limits of an export asked for again are ignored',
    caughtBy: ['limit-export-again'],
    make: (log) =>
      new (class extends LimitingTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          if (!this.exports.has(request.accessId)) await super.export(request, call);
        }
      })(log),
  },
  {
    name: 'limits begin with the next export',
    caughtBy: ['limit-live', 'limit-lifted', 'limit-waiting'],
    make: (log) =>
      new (class extends LimitingTransport {
        override async limit() {}
      })(log),
  },
  {
    name: 'limits can only be changed',
    caughtBy: ['limit-lifted'],
    make: (log) =>
      new (class extends LimitingTransport {
        override async limit(volumeId: string, limits: IoLimits | null, call: PluginCall) {
          if (limits) await super.limit(volumeId, limits, call);
        }
      })(log),
  },
  {
    name: 'what waits goes on by the limits of its coming',
    caughtBy: ['limit-waiting', 'limit-lifted'],
    make: (log) =>
      new (class extends LimitingTransport {
        protected override makePace() {
          return new (class extends Pace {
            protected override wake() {}
          })();
        }
      })(log),
  },
  {
    name: 'each access has the limits for itself',
    caughtBy: ['limit-shared'],
    make: (log) =>
      new (class extends LimitingTransport {
        protected override keyOf({ accessId }: Pick<ExportRequest, 'accessId'>) {
          return accessId;
        }
      })(log),
  },
  {
    name: 'all volumes have one limit together',
    caughtBy: ['limit-one-volume'],
    make: (log) => {
      let last: IoLimits | undefined;
      return new (class extends LimitingTransport {
        protected override keyOf() {
          return 'all';
        }
        override export(request: ExportRequest, call: PluginCall) {
          last = request.limits ?? last;
          return super.export({ ...request, limits: last }, call);
        }
      })(log);
    },
  },
  {
    name: 'reads wait behind writes',
    caughtBy: ['limit-directions'],
    make: (log) =>
      new (class extends LimitingTransport {
        protected override makePace() {
          return new (class extends Pace {
            override pass(_direction: Direction, bytes: number) {
              return super.pass('write', bytes);
            }
          })();
        }
      })(log),
  },
  {
    name: 'the same limits again are a new burst',
    caughtBy: ['limit-repeated'],
    make: (log) =>
      new (class extends LimitingTransport {
        protected override makePace() {
          return new (class extends Pace {
            override change(limits: IoLimits) {
              super.change({});
              super.change(limits);
            }
          })();
        }
      })(log),
  },
  {
    name: 'totals are taken and not kept',
    caughtBy: ['limit-quantities'],
    make: (log) =>
      new (class extends LimitingTransport {
        override export({ limits = {}, ...request }: ExportRequest, call: PluginCall) {
          const { totalOperations: _operations, totalBytes: _bytes, ...kept } = limits;
          return super.export({ ...request, limits: kept }, call);
        }
      })(log),
  },
  {
    name: 'every limit is refused',
    caughtBy: ['limit-quantities'],
    make: (log) =>
      new (class extends LimitingTransport {
        override async export(request: ExportRequest, call: PluginCall) {
          if (request.limits) throw new ScoriaError('not-supported', 'no limits here');
          await super.export(request, call);
        }
      })(log),
  },
  {
    name: 'limits for what is not exported are an error',
    caughtBy: ['limit-unknown'],
    make: (log) =>
      new (class extends LimitingTransport {
        override async limit(volumeId: string, limits: IoLimits | null, call: PluginCall) {
          if (!this.units.has(volumeId)) throw new ScoriaError('not-found', 'not exported');
          await super.limit(volumeId, limits, call);
        }
      })(log),
  },
  {
    name: 'limits for what is not exported are kept for later',
    caughtBy: ['limit-unknown'],
    make: (log) => {
      const kept = new Map<string, IoLimits>();
      return new (class extends LimitingTransport {
        override async limit(volumeId: string, limits: IoLimits | null, call: PluginCall) {
          if (limits && !this.units.has(volumeId)) kept.set(volumeId, limits);
          await super.limit(volumeId, limits, call);
        }
        override export(request: ExportRequest, call: PluginCall) {
          return super.export({ ...request, limits: request.limits ?? kept.get(request.volumeId) }, call);
        }
      })(log);
    },
  },
  {
    name: 'limit does not look at its signal',
    caughtBy: ['limit-aborted'],
    make: (log) =>
      new (class extends LimitingTransport {
        override limit(volumeId: string, limits: IoLimits | null, call: PluginCall) {
          return super.limit(volumeId, limits, { ...call, signal: new AbortController().signal });
        }
      })(log),
  },
  {
    name: 'what waited for limits is written after its access has ended',
    caughtBy: ['limit-unexport'],
    make: (log) =>
      new (class extends LimitingTransport {
        override async connect(info: ConnectionInfo) {
          const session = await super.connect(info);
          const unit = this.units.get(String(info.data['volumeId']));
          const write: typeof session.write = (data, offset) =>
            session.write(data, offset).catch(() => unit?.device.write(data, offset));
          return { ...session, write };
        }
      })(log),
  },
];
