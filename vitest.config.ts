import { defineConfig } from 'vitest/config';

const shared = { ssr: { resolve: { conditions: ['@scoria/source', 'node', 'import', 'default'] } } };

export default defineConfig({
  test: {
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'packages/*/test/**/*.test.ts', 'test/unit/**/*.test.ts'],
          globalSetup: ['test/node-version.ts'],
        },
      },
      {
        ...shared,
        test: {
          name: 'system',
          include: ['test/system/**/*.test.ts'],
          globalSetup: ['test/node-version.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
