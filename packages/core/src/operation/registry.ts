import { connectAttachment } from '../attachment/connect-attachment.ts';
import { disconnectAttachment } from '../attachment/disconnect-attachment.ts';
import { createSnapshot } from '../snapshot/create-snapshot.ts';
import { collectPlacement } from '../reconciliation/collect-placement.ts';
import { endAccess } from '../reconciliation/end-access.ts';
import { publishAccess } from '../reconciliation/publish-access.ts';
import { deleteSnapshot } from '../snapshot/delete-snapshot.ts';
import { createVolume } from '../volume/create-volume.ts';
import { deleteVolume } from '../volume/delete-volume.ts';
import { extendVolume } from '../volume/extend-volume.ts';
import { manageVolume } from '../volume/manage-volume.ts';
import { migrateVolume, retypeVolume } from '../volume/move-volume.ts';
import { revertVolume } from '../volume/revert-volume.ts';
import { shrinkVolume } from '../volume/shrink-volume.ts';
import { unmanageVolume } from '../volume/unmanage-volume.ts';
import type { OperationDefinition } from './definition.ts';

/** A definition whose own types are behind it: the engine parses input and state before it calls a step. */
export type AnyOperation = OperationDefinition<unknown, unknown>;

/** Every durable operation there is, by name. */
export const operationRegistry: ReadonlyMap<string, AnyOperation> = new Map(
  [
    createVolume,
    extendVolume,
    shrinkVolume,
    revertVolume,
    retypeVolume,
    migrateVolume,
    deleteVolume,
    manageVolume,
    unmanageVolume,
    createSnapshot,
    deleteSnapshot,
    connectAttachment,
    disconnectAttachment,
    publishAccess,
    endAccess,
    collectPlacement,
  ].map((definition) => [definition.name, definition as unknown as AnyOperation]),
);
