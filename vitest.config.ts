import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

const shared = { ssr: { resolve: { conditions: ['@scoria/source', 'node', 'import', 'default'] } } };

/** Where `.ci/run` collects what each run of the tests counted. */
const reports = process.env.TEST_REPORTS;

export default defineConfig({
  test: {
    // node:sqlite would say in every worker that it is experimental.
    execArgv: ['--disable-warning=ExperimentalWarning'],
    ...(reports && {
      reporters: ['default', 'json'],
      outputFile: { json: join(reports, `${randomUUID()}.json`) },
    }),
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: ['packages/*/src/**/*.test.ts', 'packages/*/test/**/*.test.ts', 'test/{unit,crash,simulation}/**/*.test.ts'],
          globalSetup: ['test/node-version.ts'],
        },
      },
      {
        ...shared,
        test: {
          name: 'rules',
          include: ['test/rules/**/*.test.ts'],
          globalSetup: ['test/node-version.ts'],
          testTimeout: 60_000,
        },
      },
      {
        ...shared,
        test: {
          name: 'packages',
          include: ['test/packages/**/*.test.ts'],
          globalSetup: ['test/node-version.ts'],
          testTimeout: 60_000,
          hookTimeout: 180_000,
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
      {
        ...shared,
        test: {
          name: 'launcher',
          include: ['test/lab/launcher.test.ts'],
          globalSetup: ['test/node-version.ts'],
          testTimeout: 120_000,
        },
      },
      {
        ...shared,
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts'],
          exclude: ['test/lab/launcher.test.ts'],
          globalSetup: ['test/node-version.ts', 'test/lab/in-guest.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          // A guest has one processor, and starting a process costs it most: one runs all suites.
          isolate: false,
          maxWorkers: 1,
        },
      },
    ],
  },
});
