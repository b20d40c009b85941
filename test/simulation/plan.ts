import { SeededRandom } from './seeded-random.ts';

/** What happens in a simulation, by weight. */
const weights = {
  create: 16,
  createOnce: 3,
  clone: 5,
  createFromSnapshot: 5,
  extend: 7,
  shrink: 4,
  revert: 4,
  migrate: 4,
  unmanage: 4,
  manage: 5,
  snapshot: 9,
  deleteSnapshot: 5,
  deleteVolume: 8,
  attach: 14,
  detach: 11,
  attachOlder: 5,
  detachOlder: 5,
  cancel: 3,
  trespass: 5,
  kill: 5,
  pause: 2,
  jump: 3,
} as const;

/** Kind of a thing that happens. */
export type ActionKind = keyof typeof weights;

/** One thing that happens. */
export interface Action {
  /** Milliseconds after the start. */
  readonly at: number;
  readonly kind: ActionKind;
  /** Chooses what it happens to. Stays with the action when others are dropped. */
  readonly choice: number;
}

/** A whole run: the same plan gives the same run. */
export interface Plan {
  readonly seed: number;
  /** Whether two volume services share the work on the same arrays. */
  readonly twins: boolean;
  readonly actions: readonly Action[];
}

/** Draws what a run of `seed` does. */
export function drawPlan(seed: number, length = 60): Plan {
  const random = new SeededRandom(seed);
  const twins = random.chance(0.3);
  const kinds = Object.entries(weights).flatMap(([kind, weight]) => new Array<ActionKind>(weight).fill(kind as ActionKind));
  let at = 0;
  const actions = Array.from({ length }, (): Action => {
    // Often at once, sometimes after a while.
    at += random.chance(0.3) ? 0 : random.below(random.chance(0.2) ? 20_000 : 1_500);
    const kind = kinds[random.below(kinds.length)] ?? 'create';
    // A twin that is stopped for longer than its lease and goes on afterwards could only be refused by the array itself.
    const outlasting = kind === 'pause' || kind === 'jump';
    return { at, kind: twins && outlasting ? 'create' : kind, choice: random.next() };
  });
  return { seed, twins, actions };
}
