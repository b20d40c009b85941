import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { route } from '../../http/route.ts';
import { attachmentListing } from '../attachments/listing.ts';
import { linksSchema } from '../links.ts';
import { messageListing } from '../messages/routes.ts';
import { snapshotListing } from '../snapshots/listing.ts';
import { volumeTypeListing } from '../volume-types/listing.ts';
import { volumeListing } from '../volumes/listing.ts';

const extensionSchema = z.object({
  alias: z.string(),
  name: z.string(),
  description: z.string(),
  updated: z.string(),
  links: linksSchema,
});

const extension = (alias: string, name: string, description: string): z.input<typeof extensionSchema> => ({
  alias,
  name,
  description,
  updated: '2020-01-01T00:00:00+00:00',
  links: [],
});

/** Parts of the API that began as extensions of Cinder and are present here. */
const extensions = [
  extension('os-admin-actions', 'AdminActions', 'Forced deletion and detachment'),
  extension('os-availability-zone', 'AvailabilityZones', 'Availability zones'),
  extension('os-extended-services', 'ExtendedServices', 'Reasons of disabled services'),
  extension('os-extended-snapshot-attributes', 'ExtendedSnapshotAttributes', 'Project and progress of snapshots'),
  extension('os-quota-class-sets', 'QuotaClasses', 'Default quotas'),
  extension('os-quota-sets', 'Quotas', 'Quotas of projects'),
  extension('os-services', 'Services', 'Services'),
  extension('os-types-extra-specs', 'TypesExtraSpecs', 'Extra specs of volume types'),
  extension('os-types-manage', 'TypesManage', 'Management of volume types'),
  extension('os-used-limits', 'UsedLimits', 'Use of quotas in limits'),
  extension('os-vol-host-attr', 'VolumeHostAttribute', 'Host of a volume'),
  extension('os-vol-mig-status-attr', 'VolumeMigStatusAttribute', 'Migration status of a volume'),
  extension('os-vol-tenant-attr', 'VolumeTenantAttribute', 'Project of a volume'),
  extension('os-volume-actions', 'VolumeActions', 'Actions on volumes'),
  extension('os-volume-manage', 'VolumeManage', 'Volumes that exist on backends are taken over'),
  extension('os-volume-type-access', 'VolumeTypeAccess', 'Access to private volume types'),
  extension('os-volume-unmanage', 'VolumeUnmanage', 'Volumes are let go, and stay on their backends'),
  extension('qos-specs', 'Qos_specs_manage', 'QoS specs of volume types'),
  extension('scheduler-stats', 'SchedulerStats', 'Pools as the scheduler sees them'),
];

const listings = [volumeListing, snapshotListing, attachmentListing, messageListing, volumeTypeListing];

const filtersOf = [
  ...listings.map((listing) => ({ resource: listing.resource, filters: [...listing.filterNames] })),
  { resource: 'pool', filters: ['name', 'volume_type'] },
];

/** What the API says of itself: extensions and filters. */
export const selfDescriptionRoutes = [
  route({
    method: 'GET',
    path: '/extensions',
    summary: 'Parts of the API that began as extensions',
    response: { 200: z.object({ extensions: z.array(extensionSchema) }) },
    handler: () => ({ extensions }),
  }),
  route({
    method: 'GET',
    path: '/extensions/:alias',
    summary: 'One of them',
    response: { 200: z.object({ extension: extensionSchema }) },
    handler({ params }) {
      const found = extensions.find((each) => each.alias === params.alias);
      if (!found) throw new ScoriaError('not-found', `No extension with alias ${params.alias} is here`);
      return { extension: found };
    },
  }),
  route({
    method: 'GET',
    path: '/resource_filters',
    since: '3.33',
    summary: 'Filters of the lists',
    query: z.object({ resource: z.string().optional() }),
    response: { 200: z.object({ resource_filters: z.array(z.object({ resource: z.string(), filters: z.array(z.string()) })) }) },
    handler: ({ query }) => ({
      resource_filters: filtersOf.filter(({ resource }) => query.resource === undefined || resource === query.resource),
    }),
  }),
];
