import { definePlugin, type Plugin } from '@scoria/core';
import { z } from 'zod';

/** Keeps a volume in the availability zone that was asked for; without a wish every zone will do. */
const availabilityZoneFilter: Plugin<'pool-filter'> = definePlugin({
  name: 'availability-zone-filter',
  kind: 'pool-filter',
  api: '^1.0',
  config: z.strictObject({}),
  create: () => ({
    verdict: ({ availabilityZone }, request) =>
      request.availabilityZone === null || request.availabilityZone === availabilityZone
        ? { ok: true }
        : { ok: false, reason: `is in availability zone ${availabilityZone}, not in ${request.availabilityZone}` },
  }),
});
export default availabilityZoneFilter;
