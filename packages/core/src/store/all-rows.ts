import type { Condition, ListQuery } from './list-query.ts';

const page = 1_000;

/**
 * Every row that meets the conditions, however many, in the order of their ids. Outside a transaction, rows that come or go
 * meanwhile may be missing.
 *
 * @param list - gives one page, as the repositories do.
 */
export async function allRows<Row extends { readonly id: string }, Field extends string>(
  list: (query: ListQuery<Field | 'id'>) => Promise<readonly Row[]>,
  where: readonly Condition<Field>[] = [],
): Promise<Row[]> {
  const all: Row[] = [];
  for (;;) {
    const last = all.at(-1);
    const some = await list({
      where: last ? [...where, { field: 'id', op: 'gt', value: last.id }] : where,
      // An order by time would make a store go through all that there ever was.
      sort: [{ field: 'id', direction: 'asc' }],
      limit: page,
    });
    all.push(...some);
    if (some.length < page) return all;
  }
}
