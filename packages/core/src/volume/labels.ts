import { ScoriaError } from '../error/scoria-error.ts';

/** Pairs of a user's own. */
export type Metadata = Readonly<Record<string, string>>;

/** What a user says of a volume or snapshot. */
export interface Labels {
  readonly name?: string | null | undefined;
  readonly description?: string | null | undefined;
  /** All of it. */
  readonly metadata?: Metadata | undefined;
}

const longest = 255;
const most = 128;

/** Checks what a user wants to write as metadata: keys of 1 to 255 characters, values up to 255. Throws `invalid-input`. */
export function checkMetadata(metadata: Metadata): Metadata {
  const pairs = Object.entries(metadata);
  if (pairs.length > most)
    throw new ScoriaError('invalid-input', `Metadata has ${pairs.length} items; at most ${most} are allowed.`);
  for (const [key, value] of pairs) {
    if (key.length === 0 || key.length > longest) {
      throw new ScoriaError('invalid-input', `A metadata key has ${key.length} characters; 1 to ${longest} are allowed.`);
    }
    if (value.length > longest) {
      throw new ScoriaError(
        'invalid-input',
        `The value of metadata key "${key}" has ${value.length} characters; up to ${longest} are allowed.`,
      );
    }
  }
  return metadata;
}

/** The fields to write when a user changes labels: those given. */
export function changedLabels({ name, description, metadata }: Labels): {
  name?: string | null;
  description?: string | null;
  metadata?: Metadata;
} {
  return {
    ...(name !== undefined && { name }),
    ...(description !== undefined && { description }),
    ...(metadata !== undefined && { metadata: checkMetadata(metadata) }),
  };
}

/** Metadata with pairs added and replaced. */
export function withMetadata(present: Metadata, added: Metadata): Metadata {
  return checkMetadata({ ...present, ...added });
}

/** Metadata without a key. `not-found` when it is not there; `what` names whose metadata it is. */
export function withoutMetadataKey(present: Metadata, key: string, what: string): Metadata {
  const { [key]: removed, ...left } = present;
  if (removed === undefined) throw new ScoriaError('not-found', `Metadata item ${key} of ${what} was not found.`);
  return left;
}
