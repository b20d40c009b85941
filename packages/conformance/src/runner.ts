/** The two functions of a test runner that a suite needs; those of vitest, node:test and jest fit. */
export interface Runner {
  describe(name: string, body: () => void): unknown;
  test(name: string, body: () => Promise<void>): unknown;
}
