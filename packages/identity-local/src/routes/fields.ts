import { ScoriaError } from '@scoria/core';
import { z } from 'zod';
import { defaultDomain } from '../state.ts';

/** Any text of the API. */
export const text = z.string().max(1024);

/** A name that people choose. */
export const name = z.string().trim().min(1).max(255);

/** `not-found` for any domain but the one there is. */
export function checkDomain(id: string | null | undefined): void {
  if (id === undefined || id === null || id === defaultDomain.id) return;
  throw new ScoriaError('not-found', `Domain ${id} could not be found; there is only ${defaultDomain.id}`);
}
