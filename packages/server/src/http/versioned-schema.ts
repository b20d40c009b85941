import { z } from 'zod';
import { minorOf, type Microversion } from './microversion.ts';

const sinceKey = 'x-openstack-since';
const strictKey = 'x-openstack-strict-since';

/** Declares that a field of a request or an answer exists from a version on. Before it, an answer does not have the field, and a request's object treats it as unknown. */
export function since<T extends z.ZodType>(version: Microversion, schema: T): T {
  return schema.meta({ ...schema.meta(), [sinceKey]: version });
}

/** Declares that unknown fields of a request's object are refused from a version on; before it they are ignored. */
export function strictSince<T extends z.ZodType>(version: Microversion, schema: T): T {
  return schema.meta({ ...schema.meta(), [strictKey]: version });
}

function declared(schema: z.core.$ZodType, key: string): number {
  const version = z.globalRegistry.get(schema)?.[key];
  return typeof version === 'string' ? minorOf(version as Microversion) : 0;
}

/**
 * What a schema is made for. `request`: as declared. `answer`: every object is exact, so a field that is not described
 * is a fault.
 */
export type SchemaPurpose = 'request' | 'answer';

const derived = new WeakMap<z.core.$ZodType, Map<string, z.core.$ZodType>>();

/** The schema as it is at a version: only the fields that exist then. Made once for each version and kept. */
export function schemaAt<T extends z.core.$ZodType>(schema: T, minor: number, purpose: SchemaPurpose): T {
  const kept = derived.get(schema) ?? new Map<string, z.core.$ZodType>();
  derived.set(schema, kept);
  const key = `${purpose} ${minor}`;
  const known = kept.get(key) ?? derive(schema, minor, purpose);
  kept.set(key, known);
  return known as T;
}

function derive(schema: z.core.$ZodType, minor: number, purpose: SchemaPurpose): z.core.$ZodType {
  const inner = <S extends z.core.$ZodType>(part: S): S => schemaAt(part, minor, purpose);
  if (schema instanceof z.ZodObject) {
    const shape: Record<string, z.core.$ZodType> = {};
    for (const [name, field] of Object.entries<z.core.$ZodType>(schema.shape)) {
      if (declared(field, sinceKey) <= minor) shape[name] = inner(field);
    }
    const { catchall } = schema.def;
    const strictFrom = declared(schema, strictKey);
    const exact = purpose === 'answer' ? catchall === undefined : strictFrom > 0 && strictFrom <= minor;
    return z.core.clone(schema, { ...schema.def, shape, ...(exact && { catchall: z.never() }) });
  }
  if (schema instanceof z.ZodArray) return z.core.clone(schema, { ...schema.def, element: inner(schema.def.element) });
  if (schema instanceof z.ZodRecord) return z.core.clone(schema, { ...schema.def, valueType: inner(schema.def.valueType) });
  if (schema instanceof z.ZodUnion) return z.core.clone(schema, { ...schema.def, options: schema.def.options.map(inner) });
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) {
    return z.core.clone(schema, { ...schema.def, innerType: inner(schema.def.innerType) });
  }
  return schema;
}

/** Leaves of a value what an answer of one version has. */
export type Projection = (value: unknown) => unknown;

const identity: Projection = (value) => value;
const projections = new WeakMap<z.core.$ZodType, Map<number, Projection>>();

/** The quick way to {@link schemaAt} for answers: copies the fields that exist at the version, and checks nothing. */
export function projectionAt(schema: z.core.$ZodType, minor: number): Projection {
  const kept = projections.get(schema) ?? new Map<number, Projection>();
  projections.set(schema, kept);
  const known = kept.get(minor) ?? compile(schema, minor);
  kept.set(minor, known);
  return known;
}

function compile(schema: z.core.$ZodType, minor: number): Projection {
  if (schema instanceof z.ZodObject && schema.def.catchall === undefined) {
    const fields = Object.entries<z.core.$ZodType>(schema.shape)
      .filter(([, field]) => declared(field, sinceKey) <= minor)
      .map(([name, field]) => [name, projectionAt(field, minor)] as const);
    return (value) => {
      if (typeof value !== 'object' || value === null) return value;
      const source: Readonly<Record<string, unknown>> = { ...value };
      const result: Record<string, unknown> = {};
      for (const [name, project] of fields) {
        const field = source[name];
        if (field !== undefined) result[name] = project === identity ? field : project(field);
      }
      return result;
    };
  }
  if (schema instanceof z.ZodArray) {
    const element = projectionAt(schema.def.element, minor);
    return element === identity ? identity : (value) => (Array.isArray(value) ? value.map(element) : value);
  }
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return projectionAt(schema.def.innerType, minor);
  return identity;
}
