import { definePlugin, type Plugin } from '@scoria/core';
import { z } from 'zod';
import { headroom } from './capacity.ts';

/** Prefers the pool that can still take most; for a thin pool with its over-subscription. A negative multiplier fills pools one by one. */
const capacityWeigher: Plugin<'pool-weigher'> = definePlugin({
  name: 'capacity-weigher',
  kind: 'pool-weigher',
  api: '^1.0',
  config: z.strictObject({}),
  create: () => ({ weigh: (pool) => headroom(pool).largest }),
});
export default capacityWeigher;
