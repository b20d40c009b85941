import type { BlockStorage } from '@scoria/core';
import type { ArrayKind } from './arrays.ts';
import type { Site } from './site.ts';

/** How an operation came out: `done`, or `undone` as though it had never been asked for. */
export type Outcome = 'done' | 'undone';

/** A scenario that is ready to begin. */
export interface Prepared {
  /** Asks for the operation; settles when the caller has an answer. */
  begin(storage: BlockStorage): Promise<unknown>;
  /** Tells the site what must be there after this outcome, and throws when a row says otherwise. */
  expect(outcome: Outcome): Promise<void>;
}

/** What is done to see one operation through its steps. */
export interface Scenario {
  readonly name: string;
  /** Name of the operation in the registry. */
  readonly operation: string;
  readonly arrays: readonly ArrayKind[];
  /** A verb that always fails for good: the scenario is about how its operation is undone. */
  readonly broken?: string;
  /** Sets up what the operation needs. */
  prepare(site: Site): Promise<Prepared>;
}
