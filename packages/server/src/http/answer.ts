import { ScoriaError } from '@scoria/core';
import type { Route } from './route.ts';
import { projectionAt, schemaAt } from './versioned-schema.ts';

/**
 * What is sent of a handler's result at a version. With `check`, the result must be exactly what is described: a field
 * that is missing, wrong or not described is `internal`, with its path.
 */
export function answerAt(route: Route, minor: number, value: unknown, check: boolean): unknown {
  const projected = projectionAt(route.response, minor)(value);
  if (!check) return projected;
  // The projection would hide fields that no version has: those are looked for with all versions' fields allowed.
  for (const [at, checked] of [
    [Number.POSITIVE_INFINITY, value],
    [minor, projected],
  ] as const) {
    const result = schemaAt(route.response, at, 'answer').safeParse(checked);
    if (result.success) continue;
    const faults = result.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`).slice(0, 5);
    throw new ScoriaError('internal', `The answer of ${route.method} ${route.path} is not as described: ${faults.join('; ')}`);
  }
  return projected;
}
