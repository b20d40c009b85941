import type { ErrorCode } from '../error/error-codes.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Observation, PassView, ScopeView } from './observation.ts';

/** What is told when a backend or transport could not be listed whole; the error is added to its evidence. */
export type Unlisted = Pick<Observation, 'kind' | 'subjectKind' | 'subjectId' | 'evidence'>;

/**
 * Observes a scope that is judged only when it was listed whole. That it could not be is a finding of a scope of its own,
 * gone with the first listing that succeeds. Rethrows when `signal` ended it.
 *
 * @param fallback - code of errors that come without one.
 */
export async function wholeListing(
  scope: string,
  unlisted: Unlisted,
  fallback: ErrorCode,
  signal: AbortSignal,
  observe: () => Promise<Omit<ScopeView, 'scope'>>,
): Promise<PassView> {
  const listing = `${scope}/listing`;
  try {
    const view = await observe();
    return {
      views: [
        { scope: listing, observations: [] },
        { ...view, scope },
      ],
      failure: null,
    };
  } catch (error) {
    if (signal.aborted) throw error;
    const { code, message } = ScoriaError.from(error, fallback);
    const observation: Observation = { ...unlisted, evidence: { ...unlisted.evidence, code, message }, command: null };
    return { views: [{ scope: listing, observations: [observation] }], failure: message };
  }
}
