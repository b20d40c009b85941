import type { Runner } from '@scoria/conformance';

/** Collects the tests that a suite declares, to run them and look at their outcome. */
export class CollectingRunner implements Runner {
  readonly #tests = new Map<string, () => Promise<void>>();

  readonly describe = (_name: string, body: () => void): void => body();
  readonly test = (name: string, body: () => Promise<void>): void => void this.#tests.set(name, body);

  get names(): string[] {
    return [...this.#tests.keys()];
  }

  /** Runs one test. */
  async run(name: string): Promise<void> {
    const body = this.#tests.get(name);
    if (!body) throw new Error(`the suite has no test "${name}"`);
    await body();
  }

  /** Names of the tests that fail. */
  async failures(): Promise<string[]> {
    const failed: string[] = [];
    for (const [name, body] of this.#tests) {
      await body().catch(() => failed.push(name));
    }
    return failed;
  }
}
