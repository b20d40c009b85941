import {
  silentLog,
  systemClock,
  systemRandom,
  type PlacementRequest,
  type Plugin,
  type PluginContext,
  type PluginKinds,
  type PoolReport,
  type PoolState,
  noExec,
} from '@scoria/core';

export const GiB = 2 ** 30;

/** A pool of 100 GiB, all free, thick. */
export function pool(report: Partial<PoolReport> = {}, state: Partial<Omit<PoolState, 'report'>> = {}): PoolState {
  return {
    hostString: 'node@fast#ssd',
    backendName: 'fast',
    availabilityZone: 'nova',
    allocated: 0,
    placements: 0,
    driverCapabilities: [],
    ...state,
    report: {
      name: 'ssd',
      total: 100 * GiB,
      free: 100 * GiB,
      thin: false,
      maxOverSubscription: 1,
      reserved: 0,
      capabilities: {},
      ...report,
    },
  };
}

export function request(fields: Partial<PlacementRequest> = {}): PlacementRequest {
  return { size: GiB, availabilityZone: null, extraSpecs: {}, ...fields };
}

/** What a plug-in makes of an empty configuration. */
export function made<K extends 'pool-filter' | 'pool-weigher'>(plugin: Plugin<K>): PluginKinds[K] {
  const context: PluginContext<unknown> = {
    name: plugin.name,
    config: {},
    installationId: 'installation',
    baseDirectory: '/',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    exec: noExec,
  };
  return plugin.create(context);
}
