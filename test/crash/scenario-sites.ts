import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ArrayKind, makeArray } from './arrays.ts';
import { CrashHarness } from './crash-harness.ts';
import type { Scenario } from './scenario.ts';
import { Site } from './site.ts';

/** Runs `work` with a harness over a site of its own, and removes all traces. Gives its result. */
export function withHarness<T>(scenario: Scenario, array: ArrayKind, work: (harness: CrashHarness) => Promise<T>): Promise<T> {
  return withSite(array, (site) => work(new CrashHarness(site, scenario)));
}

/** Runs `work` on a site of its own, and removes all traces. Gives its result. */
export async function withSite<T>(array: ArrayKind, work: (site: Site) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), 'scoria-crash-'));
  const site = await Site.open({ array: (name, backendId) => makeArray(array, backendId, join(directory, name)) });
  try {
    return await work(site);
  } finally {
    await site.close();
    rmSync(directory, { recursive: true });
  }
}
