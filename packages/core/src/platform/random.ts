import { randomBytes, randomUUID } from 'node:crypto';

/** Randomness, injected, so that a simulation can replay a run from its seed. */
export interface Random {
  /** A new version 4 UUID, lower case with hyphens. */
  uuid(): string;
  /** `length` random bytes, fit for secrets. */
  bytes(length: number): Uint8Array;
}

/** The machine's own source of randomness. */
export const systemRandom: Random = {
  uuid: () => randomUUID(),
  bytes: (length) => randomBytes(length),
};
