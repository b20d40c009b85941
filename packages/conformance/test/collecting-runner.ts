import type { Runner } from '@scoria/conformance';

/** Collects the tests that a suite declares, to run some of them. */
export class CollectingRunner {
  readonly #tests = new Map<string, () => Promise<void>>();
  /** Names of the tests that were skipped, with their reasons. */
  readonly skipped: string[] = [];

  /** What a suite is given. */
  readonly functions: Runner = {
    describe: (_name, body) => body(),
    test: Object.assign((name: string, body: () => Promise<void>) => void this.#tests.set(name, body), {
      skip: (name: string) => void this.skipped.push(name),
    }),
  };

  /** Names of the tests, each `id: demand`. */
  get names(): string[] {
    return [...this.#tests.keys()];
  }

  /** Runs the test of one check. */
  async run(id: string): Promise<void> {
    const [, body] = [...this.#tests].find(([name]) => name.startsWith(`${id}: `)) ?? [];
    if (!body) throw new Error(`the suite has no test of check "${id}"`);
    await body();
  }
}
