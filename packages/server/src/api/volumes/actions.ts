import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { action, nothing } from '../../http/route.ts';
import { since } from '../../http/versioned-schema.ts';
import { connectorOf, connectorSchema } from '../attachments/connector.ts';
import { announceOperation } from '../operations/announce.ts';
import { anything, flag, optionalUuid, sizeInGibibytes, uuid } from '../request-fields.ts';

const path = '/volumes/:id/action';

/** Actions on a volume that change the volume itself. */
const volumeActions = [
  action({
    path,
    action: 'os-extend',
    summary: 'Makes a volume larger; from 3.42 on also while it is in use',
    begins: true,
    body: z.strictObject({ new_size: sizeInGibibytes }),
    response: { 202: nothing },
    async handler(call) {
      if (!call.atLeast('3.42')) {
        const { status } = await call.storage.volumes.get(call.context, call.params.id);
        if (status !== 'available') {
          throw new ScoriaError(
            'invalid-state',
            `Volume ${call.params.id} is ${status}; before 3.42 only an available one is extended`,
          );
        }
      }
      const { operationId } = await call.storage.volumes.extend(call.context, call.params.id, call.body.new_size);
      announceOperation(call, operationId);
    },
  }),
  action({
    path,
    action: 'os-force_delete',
    summary: 'Deletes a volume whatever its status',
    begins: true,
    admin: true,
    body: anything,
    response: { 202: nothing },
    async handler(call) {
      const { operationId } = await call.storage.volumes.delete(call.context, call.params.id, { force: true });
      announceOperation(call, operationId);
    },
  }),
  action({
    path,
    action: 'revert',
    since: '3.40',
    summary: 'Puts a volume back to its latest snapshot',
    begins: true,
    body: z.object({ snapshot_id: uuid }),
    response: { 202: nothing },
    async handler(call) {
      const { operationId } = await call.storage.volumes.revert(call.context, call.params.id, call.body.snapshot_id);
      announceOperation(call, operationId);
    },
  }),
  action({
    path,
    action: 'os-update_readonly_flag',
    summary: 'Says whether a volume may only be read',
    body: z.strictObject({ readonly: flag }),
    response: { 202: nothing },
    async handler({ storage, context, params, body }) {
      await storage.volumes.setReadOnly(context, params.id, body.readonly);
    },
  }),
  action({
    path,
    action: 'os-set_bootable',
    summary: 'Says whether a machine can start from a volume',
    body: z.strictObject({ bootable: flag }),
    response: { 200: nothing },
    async handler({ storage, context, params, body }) {
      await storage.volumes.setBootable(context, params.id, body.bootable);
    },
  }),
];

/** Actions that move a volume. */
const moveActions = [
  action({
    path,
    action: 'os-retype',
    summary: 'Gives a volume another type, and moves it where that is needed and allowed',
    begins: true,
    body: z.strictObject({ new_type: z.string().min(1).max(255), migration_policy: z.enum(['on-demand', 'never']).nullish() }),
    response: { 202: nothing },
    async handler(call) {
      const { new_type: type, migration_policy: policy } = call.body;
      const { operationId } = await call.storage.moves.retype(call.context, call.params.id, type, policy ?? 'never');
      announceOperation(call, operationId);
    },
  }),
  action({
    path,
    action: 'os-migrate_volume',
    summary: 'Moves a volume to a host, also while it is in use',
    begins: true,
    admin: true,
    body: z.strictObject({
      host: z.string().max(255).nullish(),
      cluster: since('3.16', z.string().max(255).nullish()),
      force_host_copy: flag.nullish(),
      lock_volume: flag.nullish(),
    }),
    response: { 202: nothing },
    async handler(call) {
      const { host, cluster, lock_volume: lock } = call.body;
      if (cluster) throw new ScoriaError('not-supported', `There are no clusters here, so none named ${cluster}; name a host`);
      if (!host) throw new ScoriaError('invalid-input', 'Invalid input for field/attribute host. A host to move to is needed');
      const { operationId } = await call.storage.moves.migrate(call.context, call.params.id, host, { lock: lock ?? false });
      announceOperation(call, operationId);
    },
  }),
  action({
    path,
    action: 'os-migrate_volume_completion',
    summary: 'Hears from a hypervisor that its part of a migration is over; migrations complete by themselves here',
    admin: true,
    body: z.strictObject({ new_volume: uuid, error: flag.nullish() }),
    response: { 200: z.object({ save_volume_id: uuid }) },
    async handler({ storage, context, params, body }) {
      const { id } = await storage.moves.complete(context, params.id, { failed: body.error ?? false });
      return { save_volume_id: id };
    },
  }),
];

/** The older way to attach: the steps of it, one action each. */
const attachActions = [
  action({
    path,
    action: 'os-reserve',
    summary: 'Reserves a volume for an attachment to come',
    body: anything,
    response: { 202: nothing },
    async handler({ storage, context, params }) {
      await storage.connections.reserve(context, params.id);
    },
  }),
  action({
    path,
    action: 'os-unreserve',
    summary: 'Gives a reservation up',
    body: anything,
    response: { 202: nothing },
    async handler({ storage, context, params }) {
      await storage.connections.unreserve(context, params.id);
    },
  }),
  action({
    path,
    action: 'os-initialize_connection',
    summary: 'Makes a volume reachable for a host and tells how',
    body: z.strictObject({ connector: connectorSchema }),
    response: {
      200: z.object({
        connection_info: z.object({
          driver_volume_type: z.string(),
          data: z.record(z.string(), anything),
          enforce_multipath: z.boolean(),
        }),
      }),
    },
    async handler({ storage, context, params, body }) {
      const { connector } = connectorOf(body.connector);
      const { driverVolumeType, data } = await storage.connections.initializeConnection(context, params.id, connector);
      const full = { ...data, access_mode: data.access_mode ?? 'rw', encrypted: false, cacheable: false };
      return {
        connection_info: { driver_volume_type: driverVolumeType, data: full, enforce_multipath: connector.multipath ?? false },
      };
    },
  }),
  action({
    path,
    action: 'os-terminate_connection',
    summary: 'Ends the access of a host',
    body: z.strictObject({ connector: connectorSchema.nullable() }),
    response: { 202: nothing },
    async handler({ storage, context, params, body }) {
      const connector = body.connector && connectorOf(body.connector).connector;
      await storage.connections.terminateConnection(context, params.id, connector);
    },
  }),
  action({
    path,
    action: 'os-attach',
    summary: 'Notes that a machine or host uses a volume',
    body: z
      .strictObject({
        instance_uuid: uuid.optional(),
        host_name: z.string().max(255).optional(),
        mountpoint: z.string().min(1).max(255),
        mode: z.enum(['rw', 'ro']).optional(),
      })
      .refine((body) => body.instance_uuid !== undefined || body.host_name !== undefined, 'instance_uuid or host_name is needed'),
    response: { 202: nothing },
    async handler({ storage, context, params, body }) {
      await storage.connections.attach(context, params.id, {
        instanceId: body.instance_uuid,
        hostName: body.host_name,
        mountpoint: body.mountpoint,
        mode: body.mode ?? 'rw',
      });
    },
  }),
  action({
    path,
    action: 'os-detach',
    summary: 'Notes that a volume is no longer used',
    body: z.strictObject({ attachment_id: optionalUuid }).nullable(),
    response: { 202: nothing },
    async handler({ storage, context, params, body }) {
      await storage.connections.detach(context, params.id, { attachmentId: body?.attachment_id });
    },
  }),
  action({
    path,
    action: 'os-force_detach',
    summary: 'Ends the use of a volume without asking its host',
    admin: true,
    body: z.strictObject({ attachment_id: optionalUuid, connector: connectorSchema.nullish() }),
    response: { 202: nothing },
    async handler({ storage, context, params, body }) {
      await storage.connections.detach(context, params.id, { attachmentId: body.attachment_id });
    },
  }),
  action({
    path,
    action: 'os-begin_detaching',
    summary: 'Announces that a volume will be detached',
    body: anything,
    response: { 202: nothing },
    async handler({ storage, context, params }) {
      await storage.connections.beginDetaching(context, params.id);
    },
  }),
  action({
    path,
    action: 'os-roll_detaching',
    summary: 'Takes back the announcement of a detachment',
    body: anything,
    response: { 202: nothing },
    async handler({ storage, context, params }) {
      await storage.connections.rollDetaching(context, params.id);
    },
  }),
];

/** `POST /volumes/{id}/action`. */
export const volumeActionRoutes = [...volumeActions, ...moveActions, ...attachActions];
