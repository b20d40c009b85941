import { definePlugin, type Plugin, type PoolFilter } from '@scoria/core';
import { z } from 'zod';
import { headroom } from './capacity.ts';

const bytesPerGiB = 2 ** 30;
/** Tenths of a GiB. What is needed is rounded up and what is there down, so a refusal never reads as if it fitted. */
const needed = (bytes: number) => `${Math.ceil((bytes / bytesPerGiB) * 10) / 10} GiB`;
const left = (bytes: number) => `${Math.max(0, Math.floor((bytes / bytesPerGiB) * 10) / 10)} GiB`;
const percent = (share: number) => `${Math.round(share * 1000) / 10} %`;

const filter: PoolFilter = {
  verdict(pool, { size }) {
    const { report, allocated } = pool;
    const { free, unpromised, largest } = headroom(pool);
    // It has its space already, and is asked about for another reason.
    if (size === 0) return { ok: true };
    // Written so that a figure that is not a number refuses.
    if (free > 0 && size <= largest) return { ok: true };
    const reserve = report.reserved > 0 ? ` after the reserve of ${percent(report.reserved)}` : '';
    const oversubscription =
      report.thin && report.maxOverSubscription > 1 ? ` (over-subscription ${report.maxOverSubscription})` : '';
    if (!(free > 0)) return { ok: false, reason: `needs ${needed(size)}, no space is free${reserve}` };
    if (size <= unpromised)
      return { ok: false, reason: `needs ${needed(size)}, ${left(free)} are free${reserve}${oversubscription}` };
    return {
      ok: false,
      reason: `needs ${needed(size)}, ${left(unpromised)} are not promised yet${reserve}: volumes of ${left(allocated)} share ${left(report.total)}${oversubscription}`,
    };
  },
};

/**
 * Refuses pools that a volume does not fit into. Thick: its size must be free above the reserve, and must not have been
 * promised to others. Thin: the same with over-subscription, and never when the storage itself is full.
 */
const capacityFilter: Plugin<'pool-filter'> = definePlugin({
  name: 'capacity-filter',
  kind: 'pool-filter',
  api: '^1.0',
  config: z.strictObject({}),
  create: () => filter,
});
export default capacityFilter;
