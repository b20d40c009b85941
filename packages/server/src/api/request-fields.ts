import { z } from 'zod';

const gibibyte = 2 ** 30;
/** Largest size, in GiB, whose bytes a JavaScript number still holds exactly. */
const maxGibibytes = Math.floor(Number.MAX_SAFE_INTEGER / gibibyte);

const trueWords = ['True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', 'y', 't'] as const;
const falseWords = ['False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no', 'n', 'f'] as const;

/** Reads a boolean as it is written in queries and bodies; `undefined` when it is none of the words. */
export function booleanOf(word: string): boolean | undefined {
  if (trueWords.some((each) => each === word)) return true;
  return falseWords.some((each) => each === word) ? false : undefined;
}

/** A boolean, or one of the words that Cinder takes for one. */
export const flag = z
  .union([z.boolean(), z.enum([...trueWords, ...falseWords])], 'is not true or false')
  .transform((value) => (typeof value === 'boolean' ? value : (booleanOf(value) ?? false)));

/** A size in GiB, as a number or digits. Becomes bytes. */
export const sizeInGibibytes = z
  .union(
    [
      z.int().min(1).max(maxGibibytes),
      z
        .string()
        .regex(/^[0-9]{1,16}$/)
        .transform(Number)
        .pipe(z.int().min(1).max(maxGibibytes)),
    ],
    'is not a whole number of GiB',
  )
  .transform((gibibytes) => gibibytes * gibibyte);

/** Bytes in GiB, a begun one counting whole. */
export function gibibytes(bytes: number): number {
  return Math.ceil(bytes / gibibyte);
}

/** Bytes in GiB, with two decimals, for capacities. */
export function exactGibibytes(bytes: number): number {
  return Math.round((bytes / gibibyte) * 100) / 100;
}

/** A name or description; blanks around it are dropped. */
export const text = z.string().trim().max(255).nullish();

/** A word that names something: a type, a zone. An empty one is as good as none. */
export const word = z
  .string()
  .max(255)
  .nullish()
  .transform((value) => (value === '' ? undefined : (value ?? undefined)));

/** A UUID in any of its usual spellings. */
export const uuid = z
  .string()
  .regex(/^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i, 'is not a UUID')
  .transform(canonicalUuid);

/** A UUID, or nothing. */
export const optionalUuid = uuid.nullish().transform((value) => value ?? undefined);

function canonicalUuid(value: string): string {
  return value
    .toLowerCase()
    .replaceAll('-', '')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** Keys and values of metadata. */
export const metadata = z.record(z.string().regex(/^[a-zA-Z0-9\-_:. /]{1,255}$/), z.string().max(255));

/** Words with which callers leave something out: no value, and any. */
export const anything = z.unknown();
