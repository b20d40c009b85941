import type { QosSpecField } from '@scoria/core';
import { Listing, textFilter } from '../listing.ts';

/** What can be asked of a list of QoS specs. */
export const qosSpecListing = new Listing<QosSpecField>({
  resource: 'qos_specs',
  filters: { id: textFilter('id'), name: textFilter('name'), consumer: textFilter('consumer') },
  sort: { id: 'id', name: 'name', consumer: 'consumer', created_at: 'createdAt', updated_at: 'updatedAt' },
});
