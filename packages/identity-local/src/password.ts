import { scrypt, timingSafeEqual } from 'node:crypto';
import type { Random } from '@scoria/core';
import { z } from 'zod';

/** Schema of a {@link PasswordHash}. The bounds keep a damaged file from asking for endless work. */
export const passwordHashSchema = z.strictObject({
  algorithm: z.literal('scrypt'),
  cost: z.int().min(2).max(1_048_576),
  blockSize: z.int().min(1).max(32),
  parallelization: z.int().min(1).max(16),
  salt: z.base64().max(128),
  hash: z.base64().max(256),
});

/** What is kept of a password (RFC 7914). */
export type PasswordHash = z.infer<typeof passwordHashSchema>;

/** How much work one guess costs: scrypt's N, r and p. */
export interface PasswordCost {
  readonly cost: number;
  readonly blockSize: number;
  readonly parallelization: number;
}

/** 16 MiB and about a tenth of a second for each guess. */
export const defaultPasswordCost: PasswordCost = { cost: 16_384, blockSize: 8, parallelization: 5 };

/** Longest password that is looked at, in characters. */
export const maxPasswordLength = 1024;

/** Hashes a password with a new salt. */
export async function hashPassword(password: string, random: Random, cost: PasswordCost): Promise<PasswordHash> {
  const salt = random.bytes(16);
  const hash = await derive(password, salt, cost, 32);
  return { algorithm: 'scrypt', ...cost, salt: Buffer.from(salt).toString('base64'), hash: hash.toString('base64') };
}

/** Whether a password is the one that was hashed. Takes the same time whatever the answer. */
export async function verifyPassword(password: string, stored: PasswordHash): Promise<boolean> {
  const expected = Buffer.from(stored.hash, 'base64');
  const actual = await derive(password, Buffer.from(stored.salt, 'base64'), stored, expected.length);
  return timingSafeEqual(actual, expected);
}

function derive(password: string, salt: Uint8Array, cost: PasswordCost, length: number): Promise<Buffer> {
  const options = {
    N: cost.cost,
    r: cost.blockSize,
    p: cost.parallelization,
    maxmem: 256 * cost.cost * cost.blockSize + 1_048_576,
  };
  return new Promise((resolve, reject) => {
    scrypt(password, salt, length, options, (error, key) => (error ? reject(error) : resolve(key)));
  });
}
