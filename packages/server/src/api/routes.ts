import type { Route } from '../http/route.ts';
import { attachmentRoutes } from './attachments/routes.ts';
import { auditRoutes } from './audits/routes.ts';
import { backendRoutes } from './backends/routes.ts';
import { selfDescriptionRoutes } from './self-description/routes.ts';
import { infrastructureRoutes } from './infrastructure/routes.ts';
import { messageRoutes } from './messages/routes.ts';
import { snapshotMetadataRoutes, volumeMetadataRoutes } from './metadata-routes.ts';
import { operationRoutes } from './operations/routes.ts';
import { reconciliationRoutes } from './reconciliation/routes.ts';
import { qosSpecRoutes } from './qos-specs/routes.ts';
import { quotaRoutes } from './quotas/routes.ts';
import { snapshotRoutes } from './snapshots/routes.ts';
import { volumeTypeRoutes } from './volume-types/routes.ts';
import { volumeActionRoutes } from './volumes/actions.ts';
import { manageableVolumeRoutes } from './volumes/manageable.ts';
import { volumeShrinkRoutes } from './volumes/shrink.ts';
import { volumeRoutes } from './volumes/routes.ts';

/** Every route of the Block Storage API v3. */
export const blockStorageRoutes: readonly Route[] = [
  ...volumeRoutes,
  ...volumeMetadataRoutes,
  ...volumeActionRoutes,
  ...manageableVolumeRoutes,
  ...snapshotRoutes,
  ...snapshotMetadataRoutes,
  ...attachmentRoutes,
  ...volumeTypeRoutes,
  ...qosSpecRoutes,
  ...quotaRoutes,
  ...infrastructureRoutes,
  ...messageRoutes,
  ...selfDescriptionRoutes,
];

/** Every route below `/scoria/v1`. */
export const scoriaRoutes: readonly Route[] = [
  ...operationRoutes,
  ...volumeShrinkRoutes,
  ...backendRoutes,
  ...auditRoutes,
  ...reconciliationRoutes,
];
