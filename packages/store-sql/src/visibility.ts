import { ScoriaError, type Tenancy } from '@scoria/core';
import type { RawBuilder } from 'kysely';
import { equals } from './session.ts';

/** The condition that keeps a caller to the rows of its project; none for `every-project`. */
export function ownedBy(tenancy: Tenancy, projectColumn: RawBuilder<unknown>): RawBuilder<unknown>[] {
  return tenancy === 'every-project' ? [] : [equals(projectColumn, tenancy.projectId)];
}

/** The error for a row that is missing or belongs to another project: a caller cannot tell which. */
export function notFound(label: string, id: string): ScoriaError {
  return new ScoriaError('not-found', `${label} ${id} could not be found.`, { details: { id } });
}
