import { ScoriaError } from '../error/scoria-error.ts';

/** What a repository gives, or `undefined` where it says `not-found`. */
export async function orMissing<T>(getting: Promise<T>): Promise<T | undefined> {
  try {
    return await getting;
  } catch (error) {
    if (ScoriaError.from(error).code === 'not-found') return undefined;
    throw error;
  }
}
