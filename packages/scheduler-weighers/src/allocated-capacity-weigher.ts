import { definePlugin, type Plugin } from '@scoria/core';
import { z } from 'zod';

/** Prefers the pool of which least is promised, however large it is. A negative multiplier fills pools one by one. */
const allocatedCapacityWeigher: Plugin<'pool-weigher'> = definePlugin({
  name: 'allocated-capacity-weigher',
  kind: 'pool-weigher',
  api: '^1.0',
  config: z.strictObject({}),
  // Not `-allocated`: an empty pool would weigh -0.
  create: () => ({ weigh: ({ allocated }) => 0 - allocated }),
});
export default allocatedCapacityWeigher;
