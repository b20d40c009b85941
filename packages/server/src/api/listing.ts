import { ScoriaError, type Condition, type ListQuery } from '@scoria/core';
import { z } from 'zod';
import type { Microversion } from '../http/microversion.ts';
import type { CallBase } from '../http/route.ts';
import { linksSchema } from './links.ts';
import { parseMetadataLiteral } from './metadata-literal.ts';
import { booleanOf } from './request-fields.ts';

/** Most rows of one answer. */
export const maxLimit = 1000;

const reserved = new Set(['limit', 'marker', 'offset', 'sort', 'sort_key', 'sort_dir', 'all_tenants', 'with_count', 'metadata']);

/** What a filter makes of its value: conditions, or `nothing` when no row can match. */
export type FilterResult<Field extends string> = readonly Condition<Field>[] | 'nothing';

/** A filter of a list. */
export interface Filter<Field extends string> {
  /** First version that has it; before, it is ignored. */
  readonly since?: Microversion;
  /** Only for administrators. */
  readonly admin?: boolean;
  /** The field that `name~=part` looks into, where there is one. */
  readonly like?: Field;
  read(value: string, call: CallBase): FilterResult<Field>;
}

/** Rows whose field is the text given. */
export function textFilter<Field extends string>(field: Field): Filter<Field> {
  return { like: field, read: (value) => [{ field, op: 'eq', value }] };
}

/** Rows whose field is the number given, which `scale` turns into the field's unit. */
export function numberFilter<Field extends string>(field: Field, scale = 1): Filter<Field> {
  return {
    read: (value) => (/^\d{1,9}$/.test(value) ? [{ field, op: 'eq', value: Number(value) * scale }] : 'nothing'),
  };
}

/** Rows whose flag is as given. Other words are an error from `strictSince` on, and false before. */
export function flagFilter<Field extends string>(field: Field, strictSince: Microversion = '3.0'): Filter<Field> {
  return {
    read: (value, call) => {
      const wanted = booleanOf(value);
      if (wanted === undefined && call.atLeast(strictSince)) {
        throw new ScoriaError('invalid-input', `Invalid value for filter ${field}: '${value.slice(0, 64)}' is not true or false`);
      }
      return [{ field, op: 'eq', value: wanted ?? false }];
    },
  };
}

/** For a field that has one value only: everything matches that value, nothing another. */
export function constantFilter<Field extends string>(constant: string | boolean | null): Filter<Field> {
  return {
    read: (value) => {
      const same = typeof constant === 'boolean' ? booleanOf(value) === constant : value === (constant ?? 'None');
      return same ? [] : 'nothing';
    },
  };
}

const timeOperators = ['gt', 'gte', 'lt', 'lte', 'eq', 'neq'] as const;

/** Times as `gt:2030-01-31T00:00:00,lt:…`. */
export function timeFilter<Field extends string>(field: Field, since: Microversion): Filter<Field> {
  return {
    since,
    read: (value) =>
      value.split(',', 8).map((part) => {
        const colon = part.indexOf(':');
        const op = timeOperators.find((each) => each === part.slice(0, colon));
        if (!op) throw new ScoriaError('invalid-input', `Invalid ${part.slice(0, Math.max(colon, 0)).slice(0, 64)} operator`);
        const time = part.slice(colon + 1);
        const at = Date.parse(/(Z|[+-]\d\d:?\d\d)$/.test(time) || !time.includes('T') ? time : `${time}Z`);
        if (Number.isNaN(at)) throw new ScoriaError('invalid-input', `Invalid ${time.slice(0, 64)} value`);
        return { field, op, value: at };
      }),
  };
}

/** What can be asked of a list. */
export interface ListingDefinition<Field extends string> {
  /** Name in messages and in the list of filters, Cinder's: `volume`. */
  readonly resource: string;
  readonly filters: Readonly<Record<string, Filter<Field>>>;
  /** Names in `sort=` and the fields that they stand for. */
  readonly sort: Readonly<Record<string, Field>>;
  /** Whether, and since which version, `metadata={'key': 'value'}` is understood. */
  readonly metadataSince?: Microversion;
}

/** A list as it was asked for. */
export interface RequestedList<Field extends string> {
  readonly query: ListQuery<Field>;
  /** A filter has ruled out everything: the store need not be asked. */
  readonly empty: boolean;
  readonly allProjects: boolean;
  readonly withCount: boolean;
}

/** Filters, sort keys and paging of one kind of list: reads them of a query, and describes them. */
export class Listing<Field extends string> {
  readonly resource: string;
  /** For the API description; reading happens in {@link read}, which knows more. */
  readonly querySchema: z.ZodObject<Record<string, z.ZodOptional<z.ZodString>>>;
  readonly #definition: ListingDefinition<Field>;

  constructor(definition: ListingDefinition<Field>) {
    this.resource = definition.resource;
    this.#definition = definition;
    const names = [...Object.keys(definition.filters), ...reserved];
    if (definition.metadataSince === undefined) names.splice(names.indexOf('metadata'), 1);
    this.querySchema = z.object(Object.fromEntries(names.map((name) => [name, z.string().optional()])));
  }

  /** Names of the filters that anybody may use. */
  get filterNames(): readonly string[] {
    const names = Object.entries(this.#definition.filters).flatMap(([name, filter]) => (filter.admin ? [] : [name]));
    return this.#definition.metadataSince === undefined ? names : [...names, 'metadata'];
  }

  /** Reads the query of a call. `invalid-input` names the word that is wrong. */
  read(call: CallBase): RequestedList<Field> {
    const given = call.rawQuery;
    const conditions: Condition<Field>[] = [];
    let empty = false;
    for (const [name, value] of Object.entries(given)) {
      if (reserved.has(name)) continue;
      const result = this.#filter(name, value, call);
      if (result === 'nothing') empty = true;
      else conditions.push(...result);
    }
    const metadata = this.#metadata(call);
    const limit = integerOf('limit', given.limit) ?? maxLimit;
    return {
      query: {
        where: conditions,
        ...(metadata && { metadata }),
        sort: sortOf(given, this.#definition.sort, 'created_at'),
        limit: Math.min(limit, maxLimit),
        ...(given.marker !== undefined && { marker: given.marker }),
        offset: integerOf('offset', given.offset) ?? 0,
      },
      empty: empty || limit === 0,
      allProjects: flagOf('all_tenants', given.all_tenants) && call.context.isAdmin,
      withCount: call.atLeast('3.45') && flagOf('with_count', given.with_count),
    };
  }

  #filter(name: string, value: string, call: CallBase): FilterResult<Field> {
    const like = name.endsWith('~') && call.atLeast('3.34');
    const key = like ? name.slice(0, -1) : name;
    const filter = Object.hasOwn(this.#definition.filters, key) ? this.#definition.filters[key] : undefined;
    if (filter && (!filter.admin || call.context.isAdmin) && (!like || filter.like)) {
      if (filter.since !== undefined && !call.atLeast(filter.since)) return [];
      if (like && filter.like) return [{ field: filter.like, op: 'like', value }];
      return filter.read(value, call);
    }
    // Unknown words: no row has such a field for administrators, others were told from 3.31 on.
    if (call.context.isAdmin) return 'nothing';
    if (!call.atLeast('3.31')) return [];
    throw new ScoriaError('invalid-input', `Invalid filters ${name.slice(0, 64)} are found in query options.`);
  }

  #metadata(call: CallBase): Record<string, string> | undefined {
    const { metadataSince } = this.#definition;
    const literal = call.rawQuery.metadata;
    if (literal === undefined || metadataSince === undefined || !call.atLeast(metadataSince)) return undefined;
    const parsed = parseMetadataLiteral(literal);
    if (!parsed)
      throw new ScoriaError('invalid-input', `Invalid filter metadata: '${literal.slice(0, 64)}' is not a dictionary of strings`);
    return parsed;
  }
}

/**
 * Reads `sort=key:direction,…`, or `sort_key` and `sort_dir`, of a query.
 *
 * @param names - words in the query and the fields that they stand for.
 * @param standard - the word meant when there is none.
 */
export function sortOf<Field extends string>(
  given: Readonly<Record<string, string>>,
  names: Readonly<Record<string, Field>>,
  standard: string,
): { field: Field; direction: 'asc' | 'desc' }[] {
  const { sort, sort_key: key, sort_dir: direction } = given;
  if (sort !== undefined && (key !== undefined || direction !== undefined)) {
    throw new ScoriaError(
      'invalid-input',
      "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort' parameter.",
    );
  }
  const parts = sort?.split(',', 16) ?? [`${key ?? standard}:${direction ?? 'desc'}`];
  return parts.map((part) => {
    const [name = '', dir = 'desc'] = part.split(':').map((each) => each.trim());
    const field = Object.hasOwn(names, name) ? names[name] : undefined;
    if (field === undefined) throw new ScoriaError('invalid-input', `Sort key supplied is invalid: ${name.slice(0, 64)}`);
    if (dir !== 'asc' && dir !== 'desc') {
      throw new ScoriaError('invalid-input', `Unknown sort direction ${dir.slice(0, 64)}, must be asc or desc`);
    }
    return { field, direction: dir };
  });
}

/** Links to the next page, for the field `…_links`; there is none after the last page. */
export const pageLinksSchema = linksSchema.optional();

/** The link to the page after `items`, when this one is full. */
export function pageLinks(call: CallBase, items: readonly { readonly id: string }[]): z.infer<typeof pageLinksSchema> {
  const limit = Math.min(integerOf('limit', call.rawQuery.limit) ?? maxLimit, maxLimit);
  const last = items.at(-1);
  if (!last || items.length < limit) return undefined;
  const { offset: _offset, marker: _marker, ...rest } = call.rawQuery;
  const query = new URLSearchParams({ ...rest, marker: last.id });
  return [{ rel: 'next', href: `${call.endpoint}${call.path}?${query}` }];
}

/** A number of the query, not negative; `undefined` when it is absent. */
export function integerOf(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^-?\d+$/.test(value)) throw new ScoriaError('invalid-input', `${name} param must be an integer`);
  const number = Number(value);
  if (number < 0) throw new ScoriaError('invalid-input', `${name} param must be positive`);
  if (number > 2_147_483_647) throw new ScoriaError('invalid-input', `${name} param must be at most 2147483647`);
  return number;
}

/** A flag of the query: absent is false, other words than true and false are `invalid-input`. */
export function flagOf(name: string, value: string | undefined): boolean {
  if (value === undefined) return false;
  const wanted = booleanOf(value);
  if (wanted === undefined)
    throw new ScoriaError('invalid-input', `Invalid value '${value.slice(0, 64)}' for ${name}: true or false is needed`);
  return wanted;
}
