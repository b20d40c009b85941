import { sql, type ColumnDataType, type CreateTableBuilder, type Transaction } from 'kysely';
import type { Database } from './database.ts';
import type { SqlFlavor } from './sql-flavor.ts';

type AnyTable = CreateTableBuilder<string, string>;

/** The tables as version 1 has them. A later change is a migration of its own; this one stays as it is. */
export async function createSchema1(db: Transaction<Database>, flavor: SqlFlavor): Promise<void> {
  const whole = flavor.wholeNumber;
  const add = (table: AnyTable, type: ColumnDataType, optional: boolean, names: readonly string[]): AnyTable =>
    names.reduce((built, name) => built.addColumn(name, type, (column) => (optional ? column : column.notNull())), table);
  const table = (
    name: string,
    key: readonly string[],
    columns: {
      text?: readonly string[];
      textOrNull?: readonly string[];
      number?: readonly string[];
      numberOrNull?: readonly string[];
    },
  ): AnyTable => {
    let built: AnyTable = db.schema.createTable(name);
    built = add(built, 'text', false, columns.text ?? []);
    built = add(built, 'text', true, columns.textOrNull ?? []);
    built = add(built, whole, false, columns.number ?? []);
    built = add(built, whole, true, columns.numberOrNull ?? []);
    return built.addPrimaryKeyConstraint(`${name}_key`, [...key]);
  };
  const references = (built: AnyTable, column: string, target: string, onDelete: 'cascade' | 'restrict'): AnyTable =>
    built.addForeignKeyConstraint(
      `${built.toOperationNode().table.table.identifier.name}_${column}`,
      [column],
      target,
      ['id'],
      (key) => (onDelete === 'cascade' ? key.onDelete('cascade') : key.deferrable().initiallyDeferred()),
    );
  const index = (name: string, on: string, columns: readonly string[]) =>
    db.schema
      .createIndex(name)
      .on(on)
      .columns([...columns])
      .execute();

  await table('volume_types', ['id'], {
    text: ['id', 'name', 'extra_specs'],
    textOrNull: ['description'],
    number: ['is_public', 'created_at'],
    numberOrNull: ['updated_at'],
  })
    .addUniqueConstraint('volume_types_name', ['name'])
    .execute();
  await references(
    table('volume_type_access', ['volume_type_id', 'project_id'], { text: ['volume_type_id', 'project_id'] }),
    'volume_type_id',
    'volume_types',
    'cascade',
  ).execute();

  await references(
    table('volumes', ['id'], {
      text: ['id', 'project_id', 'user_id', 'status', 'volume_type_id', 'availability_zone', 'metadata'],
      textOrNull: ['name', 'description', 'source_volume_id', 'snapshot_id', 'placement_id', 'migration_status'],
      number: ['size', 'bootable', 'read_only', 'multiattach', 'created_at'],
      numberOrNull: ['updated_at', 'launched_at'],
    }),
    'volume_type_id',
    'volume_types',
    'restrict',
  ).execute();
  // A project's list by its usual orders, and everybody's newest first: a page is read from the index, whatever the depth.
  await index('volumes_newest', 'volumes', ['project_id', 'created_at', 'id']);
  await index('volumes_by_name', 'volumes', ['project_id', 'name', 'id']);
  await index('volumes_by_size', 'volumes', ['project_id', 'size', 'id']);
  await index('volumes_by_status', 'volumes', ['project_id', 'status', 'id']);
  await index('volumes_all_newest', 'volumes', ['created_at', 'id']);
  await index('volumes_all_by_name', 'volumes', ['name', 'id']);
  await index('volumes_of_type', 'volumes', ['volume_type_id']);

  await references(
    references(
      table('snapshots', ['id'], {
        text: ['id', 'project_id', 'user_id', 'volume_id', 'volume_type_id', 'status', 'metadata'],
        textOrNull: ['name', 'description', 'placement_id'],
        number: ['size', 'created_at'],
        numberOrNull: ['updated_at'],
      }),
      'volume_id',
      'volumes',
      'restrict',
    ),
    'volume_type_id',
    'volume_types',
    'restrict',
  ).execute();
  await index('snapshots_newest', 'snapshots', ['project_id', 'created_at', 'id']);
  await index('snapshots_by_name', 'snapshots', ['project_id', 'name', 'id']);
  await index('snapshots_all_newest', 'snapshots', ['created_at', 'id']);
  await table('project_usage', ['project_id', 'kind', 'volume_type_id'], {
    text: ['project_id', 'kind', 'volume_type_id'],
    number: ['number', 'bytes'],
  }).execute();
  await index('snapshots_of_volume', 'snapshots', ['volume_id', 'created_at', 'id']);
  await index('snapshots_of_type', 'snapshots', ['volume_type_id']);

  await references(
    table('attachments', ['id'], {
      text: ['id', 'volume_id', 'project_id', 'user_id', 'status', 'mode'],
      textOrNull: ['instance_id', 'connector', 'mountpoint', 'host_name', 'access_id'],
      number: ['created_at'],
      numberOrNull: ['updated_at', 'attached_at'],
    }),
    'volume_id',
    'volumes',
    'restrict',
  ).execute();
  await index('attachments_newest', 'attachments', ['project_id', 'created_at', 'id']);
  await index('attachments_all_newest', 'attachments', ['created_at', 'id']);
  await index('attachments_of_volume', 'attachments', ['volume_id']);
  await index('attachments_of_access', 'attachments', ['access_id']);
  await index('attachments_of_instance', 'attachments', ['instance_id']);

  await table('accesses', ['id'], {
    text: ['id', 'volume_id', 'placement_id', 'initiator', 'state'],
    number: ['read_only', 'created_at'],
  }).execute();
  await index('accesses_of_volume', 'accesses', ['volume_id']);
  await db.schema
    .createIndex('accesses_one_per_initiator')
    .unique()
    .on('accesses')
    .columns(['volume_id', 'initiator'])
    .where(sql<boolean>`state <> 'ending'`)
    .execute();

  await table('placements', ['id'], {
    text: ['id', 'backend_id', 'pool', 'kind', 'resource_id'],
    textOrNull: ['backend_ref'],
    number: ['claimed', 'created_at'],
    numberOrNull: ['size'],
  }).execute();
  await table('pool_claims', ['backend_id', 'pool'], {
    text: ['backend_id', 'pool'],
    number: ['claimed', 'placements'],
  }).execute();
  await index('placements_of_backend', 'placements', ['backend_id', 'id']);

  await table('backends', ['id'], {
    text: ['id', 'name', 'host', 'availability_zone', 'driver_capabilities', 'pools'],
    textOrNull: ['fault', 'disabled_reason'],
    number: ['reported_at', 'enabled'],
  }).execute();
  await table('services', ['binary', 'host'], {
    text: ['binary', 'host', 'availability_zone'],
    textOrNull: ['disabled_reason'],
    number: ['enabled', 'seen_at'],
  }).execute();
  await table('quota_limits', ['scope', 'name', 'resource'], {
    text: ['scope', 'name', 'resource'],
    number: ['hard_limit'],
  }).execute();

  await table('messages', ['id'], {
    text: ['id', 'project_id', 'request_id', 'resource_type', 'level', 'code', 'action', 'text'],
    textOrNull: ['resource_id'],
    number: ['created_at', 'guaranteed_until'],
  }).execute();
  await index('messages_newest', 'messages', ['project_id', 'created_at', 'id']);
  await index('messages_all_newest', 'messages', ['created_at', 'id']);
  await index('messages_expiry', 'messages', ['guaranteed_until']);

  await table('operations', ['id'], {
    text: [
      'id',
      'name',
      'project_id',
      'user_id',
      'request_id',
      'resource_kind',
      'resource_id',
      'status',
      'input',
      'state',
      'role',
    ],
    textOrNull: ['backend_id', 'lease_owner', 'progress', 'error'],
    number: ['step', 'started', 'lease_until', 'fence', 'attempts', 'not_before', 'cancel_requested', 'created_at', 'updated_at'],
    numberOrNull: ['ended_at'],
  }).execute();
  await index('operations_newest', 'operations', ['project_id', 'created_at', 'id']);
  await index('operations_by_status', 'operations', ['project_id', 'status', 'name']);
  await index('operations_all_newest', 'operations', ['created_at', 'id']);
  await index('operations_of_resource', 'operations', ['resource_id', 'created_at', 'id']);
  await db.schema
    .createIndex('operations_unended')
    .on('operations')
    .columns(['created_at', 'id'])
    .where(sql<boolean>`ended_at is null`)
    .execute();
  await db.schema
    .createIndex('operations_ended')
    .on('operations')
    .columns(['ended_at'])
    .where(sql<boolean>`ended_at is not null`)
    .execute();
  await references(
    table('operation_uses', ['kind', 'resource_id', 'operation_id'], { text: ['kind', 'resource_id', 'operation_id', 'mode'] }),
    'operation_id',
    'operations',
    'cascade',
  ).execute();
  await index('operation_uses_of_operation', 'operation_uses', ['operation_id']);
  await references(
    table('operation_journal', ['operation_id', 'sequence'], {
      text: ['operation_id', 'step', 'event'],
      textOrNull: ['error'],
      number: ['sequence', 'at'],
    }),
    'operation_id',
    'operations',
    'cascade',
  ).execute();

  await table('remembered_requests', ['project_id', 'key'], {
    text: ['project_id', 'key', 'fingerprint', 'resource_id'],
    textOrNull: ['operation_id'],
    number: ['created_at'],
  }).execute();
  await index('remembered_requests_oldest', 'remembered_requests', ['created_at']);

  await table('findings', ['id'], {
    text: ['id', 'kind', 'scope', 'subject_kind', 'subject_id', 'state', 'evidence'],
    textOrNull: ['command', 'operation_id'],
    number: ['first_seen_at', 'last_seen_at', 'passes', 'actions'],
    numberOrNull: ['acted_at', 'ended_at'],
  }).execute();
  await db.schema
    .createIndex('findings_live')
    .on('findings')
    .columns(['scope'])
    .where(sql<boolean>`ended_at is null`)
    .execute();
  await index('findings_by_state', 'findings', ['state', 'first_seen_at', 'id']);
  await index('findings_ended', 'findings', ['ended_at']);
  await table('reconciliation_runs', ['host'], {
    text: ['host', 'passes'],
    number: ['started_at', 'ended_at', 'findings', 'actions'],
  }).execute();
  await table('reconciliation_leases', ['name'], { text: ['name', 'owner'], number: ['until'] }).execute();
  await table('removed_placements', ['id'], { text: ['id'], numberOrNull: ['noticed_at'] }).execute();
  await index('removed_placements_noticed', 'removed_placements', ['noticed_at']);

  await table('counters', ['name'], { text: ['name'], number: ['value'] }).execute();
  await sql`insert into counters (name, value) values ('fence', 0)`.execute(db);

  let events: AnyTable = flavor.addSequence(db.schema.createTable('events'), 'sequence');
  events = add(events, 'text', false, ['project_id', 'name', 'payload']);
  await add(events, whole, false, ['at']).execute();
  await index('events_of_project', 'events', ['project_id', 'sequence']);
  await index('events_age', 'events', ['at']);
}
