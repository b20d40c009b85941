import { type Repositories, ScoriaError } from '@scoria/core';
import { interceptedMembers } from './interception.ts';

/** The disk under one transaction: it is full at a certain call of a repository, and from then on. */
export class FillingDisk {
  #left: number;

  /** @param calls - that go well. */
  constructor(calls: number) {
    this.#left = calls;
  }

  /** Repositories that fail with `store-failed` once the disk is full. */
  under(repositories: Repositories): Repositories {
    return interceptedMembers(repositories, async (_verb, proceed) => {
      if (this.#left <= 0) this.fill();
      this.#left -= 1;
      return proceed();
    });
  }

  /** Fails, now and at every further call. */
  fill(): never {
    this.#left = 0;
    throw new ScoriaError('store-failed', 'The test lets the disk of the store be full.');
  }
}
