import type { VolumeTypeField } from '@scoria/core';
import { Listing, textFilter, type Filter } from '../listing.ts';
import { booleanOf } from '../request-fields.ts';

/** Administrators see public types unless they ask otherwise, `none` for all; others what is theirs to use, whatever they ask. */
const isPublic: Filter<VolumeTypeField> = {
  read: (value, call) => {
    if (!call.context.isAdmin || value.toLowerCase() === 'none') return [];
    return [{ field: 'isPublic', op: 'eq', value: booleanOf(value) ?? true }];
  },
};

/** What can be asked of a list of types. `extra_specs` is read by the route: it is a condition on more than one row's field. */
export const volumeTypeListing = new Listing<VolumeTypeField>({
  resource: 'volume_type',
  filters: {
    id: textFilter('id'),
    name: textFilter('name'),
    description: textFilter('description'),
    is_public: isPublic,
    extra_specs: { since: '3.52', read: () => [] },
  },
  sort: {
    id: 'id',
    name: 'name',
    description: 'description',
    is_public: 'isPublic',
    created_at: 'createdAt',
    updated_at: 'updatedAt',
  },
});
