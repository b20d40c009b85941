import { ScoriaError } from '../error/scoria-error.ts';

const longest = 255;
const most = 128;

/** Checks what a user wants to write as metadata of a volume or snapshot: keys of 1 to 255 characters, values up to 255. Throws `invalid-input`. */
export function checkMetadata(metadata: Readonly<Record<string, string>>): void {
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
}
