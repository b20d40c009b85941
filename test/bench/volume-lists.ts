import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemRandom, type BlockStorage, type Store } from '@scoria/core';
import { createSqliteStore } from '@scoria/store-sql';
import { ApiClient } from './api-client.ts';
import {
  administrator,
  gibibyte,
  highQuotas,
  memoryBackend,
  openMemoryStorage,
  writeMemoryConfiguration,
} from './memory-installation.ts';
import { figure, figureHeader, short, type Section } from './report.ts';
import { startService } from './service-process.ts';
import { latencyOf, rounds, spreadOf, timed, type Spread } from './statistics.ts';
import { creationRates, createOne, type CreationEffort } from './volume-creation.ts';

const pageRows = 100;
/** Longest that the median of a page may grow from few rows to many. */
const flat = 2;
const insertsPerTransaction = 5_000;

/** How much is measured. */
export interface ListEffort {
  readonly few: number;
  readonly many: number;
  readonly rounds: number;
  readonly pages: number;
  /** Creates beside the many rows. */
  readonly creation: CreationEffort;
}

interface Measured {
  readonly count: number;
  readonly core: { readonly p50: Spread; readonly p99: Spread };
  readonly http: { readonly p50: Spread; readonly p99: Spread };
}

/** Pages at random places of a list of few and of many volumes, all of one project; then creates beside the many. */
export async function measureLists(directory: string, effort: ListEffort): Promise<Section[]> {
  const home = join(directory, 'lists');
  await mkdir(home);
  const backend = memoryBackend();
  const configurationFile = await writeMemoryConfiguration(home, backend.backendId);
  const dataDirectory = join(home, 'data');
  const first = await startService({ dataDirectory, configurationFile });
  const client = await ApiClient.login(first.url, dataDirectory);
  const { projectId } = client;
  client.close();
  await first.stop();

  const context = administrator(projectId);
  const ids: string[] = [];
  const marker = () => ids[Math.floor(Math.random() * ids.length)] ?? '';
  let insertRate = 0;

  const measure = async (count: number): Promise<Measured> => {
    const begun = performance.now();
    const added = await fill(join(dataDirectory, 'scoria.db'), count - ids.length, projectId, backend.backendId);
    insertRate = added.length / ((performance.now() - begun) / 1000);
    ids.push(...added);
    const pagesOf = async (page: () => Promise<unknown>) => {
      await timed(effort.pages, page);
      return latencyOf(await rounds(effort.rounds, () => timed(effort.pages, page)));
    };
    const storage = await openMemoryStorage(dataDirectory, backend);
    const core = await pagesOf(async () =>
      checkPage((await storage.volumes.list(context, { limit: pageRows, marker: marker() })).length),
    );
    await storage.stop();
    const service = await startService({ dataDirectory, configurationFile });
    try {
      const caller = await ApiClient.login(service.url, dataDirectory);
      const http = await pagesOf(() => caller.call('GET', `/volumes/detail?limit=${pageRows}&marker=${marker()}`));
      caller.close();
      return { count, core, http };
    } finally {
      await service.stop();
    }
  };

  const few = await measure(effort.few);
  const many = await measure(effort.many);
  const rows = [few, many].flatMap(({ count, core, http }) => [
    figure(`core, ${short(count)} rows: p50`, 'ms', core.p50),
    figure(`core, ${short(count)} rows: p99`, 'ms', core.p99),
    figure(`HTTP detail, ${short(count)} rows: p50`, 'ms', http.p50),
    figure(`HTTP detail, ${short(count)} rows: p99`, 'ms', http.p99),
  ]);
  const ratio = (way: 'core' | 'http') => spreadOf([many[way].p50.median / few[way].p50.median]);
  rows.push(
    figure(`core: p50 of ${short(many.count)} to ${short(few.count)} rows`, 'ratio', ratio('core'), { atMost: flat }),
    figure(`HTTP: p50 of ${short(many.count)} to ${short(few.count)} rows`, 'ratio', ratio('http'), { atMost: flat }),
  );
  const lists: Section = {
    title: `2. List pages of ${pageRows} volumes`,
    header: figureHeader,
    rows,
    notes: [
      `${effort.rounds} rounds of ${effort.pages} pages, each after a marker chosen at random; all volumes in one project; newest first.`,
      `Rows were inserted through the store, ${short(insertsPerTransaction)} volumes and their placements a transaction: ${short(insertRate)} volumes/s.`,
    ],
  };
  const storage = await openMemoryStorage(dataDirectory, backend);
  try {
    return [lists, await createsBeside(storage, projectId, effort)];
  } finally {
    await storage.stop();
  }
}

/** What it costs a create that its project and its pool have many volumes already. */
async function createsBeside(storage: BlockStorage, projectId: string, effort: ListEffort): Promise<Section> {
  const { creation, many } = effort;
  const measure = async (project: string) => {
    const context = administrator(project);
    await timed(Math.min(creation.single, 100), () => createOne(storage, context));
    const latency = latencyOf(await rounds(creation.rounds, () => timed(creation.single, () => createOne(storage, context))));
    return { ...latency, rate: spreadOf(await creationRates(storage, context, creation)) };
  };
  const [other, same] = [await measure('another-project'), await measure(projectId)];
  return {
    title: `2b. Volume create with ${short(many)} volumes in the pool`,
    header: figureHeader,
    rows: [
      figure('in a project of few: latency p99', 'ms', other.p99, { atMost: 50 }),
      figure('in a project of few: sustained rate', 'creates/s', other.rate, { atLeast: 200 }),
      figure('in the project of the many: latency p99', 'ms', same.p99, { atMost: 50 }),
      figure('in the project of the many: sustained rate', 'creates/s', same.rate, { atLeast: 200 }),
    ],
    notes: [
      'In process, as in 1. What a project uses and what a pool has promised are checked in the transaction of each create.',
    ],
  };
}

function checkPage(rows: number): void {
  if (rows > pageRows) throw new Error(`A page has ${rows} rows`);
}

/** Puts volumes into a store that nobody uses, with their placements. Returns their ids. */
async function fill(path: string, count: number, projectId: string, backendId: string): Promise<string[]> {
  const store: Store = createSqliteStore({ path });
  await store.open();
  try {
    const type = await store.reading.volumeTypes.resolve('every-project', '__DEFAULT__');
    const ids: string[] = [];
    while (ids.length < count) {
      const upTo = Math.min(count, ids.length + insertsPerTransaction);
      await store.transaction(async ({ volumes, placements }) => {
        for (let index = ids.length; index < upTo; index++) {
          const [id, placementId] = [systemRandom.uuid(), systemRandom.uuid()];
          const createdAt = 1_790_000_000_000 + index * 1000;
          await placements.insert({
            ...{ id: placementId, backendId, pool: 'pool', kind: 'volume', resourceId: id },
            ...{ claimed: gibibyte, size: gibibyte, backendRef: placementId, createdAt },
          });
          await volumes.insert({
            ...{ id, projectId, userId: 'bench', name: `volume-${index}`, description: null, size: gibibyte },
            ...{ status: 'available', volumeTypeId: type.id, availabilityZone: 'nova', placementId, migrationStatus: null },
            ...{ bootable: false, readOnly: false, multiattach: false, metadata: { number: String(index) } },
            ...{ sourceVolumeId: null, snapshotId: null, createdAt, updatedAt: createdAt, launchedAt: createdAt },
          });
          ids.push(id);
        }
      });
    }
    await store.transaction(({ quotas }) => quotas.setForClass('default', highQuotas));
    return ids;
  } finally {
    await store.close();
  }
}
