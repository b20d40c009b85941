import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { projectionAt, schemaAt, since, strictSince } from '../../src/http/versioned-schema.ts';

const item = z.object({ id: z.string(), colour: since('3.20', z.string()), weight: since('3.30', z.int().optional()) });
const body = z.object({ items: z.array(item), first: item.nullable(), note: since('3.10', z.string()) });
const value = {
  items: [{ id: 'a', colour: 'red', weight: 1 }],
  first: { id: 'b', colour: 'blue', weight: 2 },
  note: 'n',
};

describe('answers', () => {
  test.each([
    [9, { items: [{ id: 'a' }], first: { id: 'b' } }],
    [10, { items: [{ id: 'a' }], first: { id: 'b' }, note: 'n' }],
    [20, { items: [{ id: 'a', colour: 'red' }], first: { id: 'b', colour: 'blue' }, note: 'n' }],
    [30, value],
  ])('at 3.%i have the fields of that version, and are exactly that', (minor, expected) => {
    const projected = projectionAt(body, minor)(value);
    expect(projected).toEqual(expected);
    expect(schemaAt(body, minor, 'answer').safeParse(projected).success).toBe(true);
    expect(schemaAt(body, minor, 'answer').safeParse({ ...expected, more: 1 }).success).toBe(false);
  });

  test('keep keys that callers chose, and leave out what is undefined', () => {
    const schema = z.object({ metadata: z.record(z.string(), z.string()), links: z.array(z.string()).optional() });
    expect(projectionAt(schema, 0)({ metadata: { any: 'thing' }, links: undefined })).toEqual({ metadata: { any: 'thing' } });
  });
});

describe('requests', () => {
  const request = strictSince('3.53', z.object({ size: z.int(), group: since('3.13', z.int().optional()) }));

  test('a field of a later version is as unknown as any other', () => {
    expect(schemaAt(request, 12, 'request').parse({ size: 1, group: 'x', other: 1 })).toEqual({ size: 1 });
    expect(schemaAt(request, 13, 'request').safeParse({ size: 1, group: 'x' }).success).toBe(false);
    expect(schemaAt(request, 52, 'request').parse({ size: 1, other: 1 })).toEqual({ size: 1 });
    expect(schemaAt(request, 53, 'request').safeParse({ size: 1, other: 1 }).success).toBe(false);
  });

  test('refinements of an object stay', () => {
    const refined = z.object({ a: z.int().optional() }).refine((given) => given.a !== undefined, 'a is needed');
    expect(schemaAt(refined, 5, 'request').safeParse({}).success).toBe(false);
  });

  test('a schema is made once for each version', () => {
    expect(schemaAt(request, 7, 'request')).toBe(schemaAt(request, 7, 'request'));
  });
});
