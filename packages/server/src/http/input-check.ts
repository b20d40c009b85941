import { ScoriaError } from '@scoria/core';
import type { z } from 'zod';
import type { InputCheck } from './route.ts';
import { schemaAt } from './versioned-schema.ts';

/** Checks input as it is at one version; `invalid-input` names the field, its value and what is wrong with it. */
export function inputCheckAt(minor: number): InputCheck {
  return (schema, value) => {
    const result = schemaAt(schema, minor, 'request').safeParse(value, { reportInput: true });
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    throw new ScoriaError('invalid-input', issue ? describe(issue) : 'The request is not understood');
  };
}

function describe(outer: z.core.$ZodIssue): string {
  const issue = innermost(outer);
  const field = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const keys = issue.keys.map((key) => `'${key.slice(0, 64)}'`).join(', ');
    const were = issue.keys.length === 1 ? 'was' : 'were';
    return `Invalid input for field/attribute ${field || 'body'}. Additional properties are not allowed (${keys} ${were} unexpected)`;
  }
  if (issue.code === 'invalid_type' && issue.input === undefined) {
    const parent = issue.path.slice(0, -1).join('.');
    if (field === '') return 'The request needs a body in JSON';
    return `Invalid input for field/attribute ${parent || 'body'}. '${String(issue.path.at(-1))}' is a required property`;
  }
  const value = JSON.stringify(issue.input) ?? 'nothing';
  return `Invalid input for field/attribute ${field || 'body'}. Value: ${value.slice(0, 255)}. ${issue.message}`;
}

/** Of a choice that fits nowhere, what is wrong with the first of its forms; the others are variants of it. */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const first = issue.errors[0]?.[0];
  if (!first || first.code === 'invalid_type') return issue;
  return innermost({ ...first, path: [...issue.path, ...first.path] });
}
