import { sql, type Transaction } from 'kysely';
import type { Database } from './database.ts';
import type { SqlFlavor } from './sql-flavor.ts';

/** Adds QoS specs, and which of them a volume type has. */
export async function addQosSpecs(db: Transaction<Database>, flavor: SqlFlavor): Promise<void> {
  await db.schema
    .createTable('qos_specs')
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('consumer', 'text', (column) => column.notNull())
    .addColumn('specs', 'text', (column) => column.notNull())
    .addColumn('created_at', flavor.wholeNumber, (column) => column.notNull())
    .addColumn('updated_at', flavor.wholeNumber)
    .addPrimaryKeyConstraint('qos_specs_key', ['id'])
    .addUniqueConstraint('qos_specs_name', ['name'])
    .execute();
  await sql`alter table volume_types add column qos_spec_id text references qos_specs (id)`.execute(db);
  await db.schema.createIndex('volume_types_of_qos_spec').on('volume_types').columns(['qos_spec_id']).execute();
}
