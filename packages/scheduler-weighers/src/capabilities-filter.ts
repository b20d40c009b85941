import { capabilityMethods, definePlugin, type Plugin, type PoolFilter, type PoolState } from '@scoria/core';
import { z } from 'zod';
import { meets, type CapabilityValue } from './extra-spec-operators.ts';

const bytesPerGiB = 2 ** 30;

/** What extra specs may ask of a pool: what core knows of it, and over that what its driver reports. */
function capabilitiesOf({ backendName, driverCapabilities, report }: PoolState): ReadonlyMap<string, CapabilityValue> {
  const known: [string, CapabilityValue][] = [
    ['pool_name', report.name],
    ['thin_provisioning_support', report.thin],
    ['thick_provisioning_support', !report.thin],
    ['total_capacity_gb', report.total / bytesPerGiB],
    ['free_capacity_gb', report.free / bytesPerGiB],
    // All accesses of a volume share one logical unit, whatever the driver.
    ['multiattach', true],
    ...Object.keys(capabilityMethods).map((name): [string, CapabilityValue] => [name, false]),
    ...driverCapabilities.map((name): [string, CapabilityValue] => [name, true]),
    ...Object.entries(report.capabilities),
    // Last: a driver cannot take another backend's name.
    ['volume_backend_name', backendName],
  ];
  return new Map(known);
}

/** The capability that an extra spec is about, or `null` when it speaks to somebody else: `RESKEY:…`, `qos:…`. */
function subject(key: string): string | null {
  const colon = key.indexOf(':');
  if (colon < 0) return key;
  return key.slice(0, colon) === 'capabilities' ? key.slice(colon + 1) : null;
}

const filter: PoolFilter = {
  verdict(pool, { extraSpecs }) {
    const capabilities = capabilitiesOf(pool);
    for (const [key, demand] of Object.entries(extraSpecs)) {
      const name = subject(key);
      if (name === null) continue;
      const value = capabilities.get(name);
      if (value === undefined) return { ok: false, reason: `does not report ${name}; the volume type asks for '${demand}'` };
      if (!meets(value, demand)) return { ok: false, reason: `has ${name} '${value}'; the volume type asks for '${demand}'` };
    }
    return { ok: true };
  },
};

/** Refuses pools that lack what the extra specs of the volume type ask for. */
const capabilitiesFilter: Plugin<'pool-filter'> = definePlugin({
  name: 'capabilities-filter',
  kind: 'pool-filter',
  api: '^1.0',
  config: z.strictObject({}),
  create: () => filter,
});
export default capabilitiesFilter;
