import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { systemRandom, type BlockStorage, type RequestContext } from '@scoria/core';
import { z } from 'zod';
import { ApiClient } from './api-client.ts';
import { administrator, gibibyte, highQuotas, openMemoryStorage, writeMemoryConfiguration } from './memory-installation.ts';
import { figure, figureHeader, type Section } from './report.ts';
import { startService } from './service-process.ts';
import { latencyOf, rateOf, rounds, spreadOf, timed } from './statistics.ts';

const parallel = 64;
const rateAim = { atLeast: 200 };
const latencyAim = { atMost: 50 };
const madeSchema = z.object({ volume: z.object({ id: z.string() }) });
const statusSchema = z.object({ volume: z.object({ status: z.string() }) });
const listSchema = z.object({ volumes: z.array(z.unknown()) });

/** How much is measured. */
export interface CreationEffort {
  readonly rounds: number;
  /** Creates of one round, one at a time. */
  readonly single: number;
  /** Creates of one round, 64 under way at once. */
  readonly many: number;
}

/** Creates a volume and waits until it is available. */
export async function createOne(storage: BlockStorage, context: RequestContext): Promise<void> {
  const { operationId } = await storage.volumes.create(context, { size: gibibyte });
  await storage.operations.wait(operationId, 30_000);
}

/** Rate of creates in this process with 64 under way, for each round. */
export function creationRates(storage: BlockStorage, context: RequestContext, effort: CreationEffort): Promise<number[]> {
  return rounds(effort.rounds, () => rateOf(effort.many, parallel, () => createOne(storage, context)));
}

/** From the request for a volume until it is available, and how many of these a second has: in process and through HTTP. */
export async function measureCreation(directory: string, effort: CreationEffort): Promise<Section> {
  const rows = [
    ...(await inProcess(join(directory, 'creation'), effort)),
    ...(await throughHttp(join(directory, 'http'), effort)),
  ];
  return {
    title: '1. Volume create → available, driver-memory, SQLite file (synchronous=FULL)',
    header: figureHeader,
    rows,
    notes: [
      `${effort.rounds} rounds of ${effort.single} creates one at a time and of ${effort.many} creates with ${parallel} under way; default filters and weighers; quotas set and checked.`,
      'HTTP: the service in a process of its own, connections kept open. One at a time: POST, then GET until "available". Rate: all POSTs, until the last volume is available.',
    ],
  };
}

async function inProcess(directory: string, effort: CreationEffort): Promise<string[][]> {
  await mkdir(directory);
  const storage = await openMemoryStorage(directory);
  try {
    const context = administrator('bench');
    await timed(Math.min(effort.single, 300), () => createOne(storage, context));
    const { p50, p99 } = latencyOf(await rounds(effort.rounds, () => timed(effort.single, () => createOne(storage, context))));
    const rates = await creationRates(storage, context, effort);
    return [
      figure('in process: latency p50', 'ms', p50),
      figure('in process: latency p99', 'ms', p99, latencyAim),
      figure('in process: sustained rate', 'creates/s', spreadOf(rates), rateAim),
    ];
  } finally {
    await storage.stop();
  }
}

async function throughHttp(directory: string, effort: CreationEffort): Promise<string[][]> {
  await mkdir(directory);
  const configurationFile = await writeMemoryConfiguration(directory, systemRandom.uuid());
  const dataDirectory = join(directory, 'data');
  const service = await startService({ dataDirectory, configurationFile });
  try {
    const client = await ApiClient.login(service.url, dataDirectory);
    await client.call('PUT', '/os-quota-class-sets/default', { quota_class_set: highQuotas });
    const post = async () =>
      madeSchema.parse(JSON.parse(await client.call('POST', '/volumes', { volume: { size: 1 } }))).volume.id;
    const create = async () => {
      const id = await post();
      const status = async () => statusSchema.parse(JSON.parse(await client.call('GET', `/volumes/${id}`))).volume.status;
      for (let seen = await status(); seen !== 'available'; seen = await status()) {
        if (seen !== 'creating') throw new Error(`Volume ${id} is ${seen}`);
      }
    };
    const allAvailable = async () => {
      const creating = async () =>
        listSchema.parse(JSON.parse(await client.call('GET', '/volumes?status=creating&limit=1'))).volumes.length > 0;
      while (await creating());
    };
    await timed(Math.min(effort.single, 100), create);
    const { p50, p99 } = latencyOf(await rounds(effort.rounds, () => timed(effort.single, create)));
    const rates = await rounds(effort.rounds, async () => {
      const start = performance.now();
      await rateOf(effort.many, parallel, post);
      await allAvailable();
      return effort.many / ((performance.now() - start) / 1000);
    });
    client.close();
    return [
      figure('HTTP: latency p50', 'ms', p50),
      figure('HTTP: latency p99', 'ms', p99, latencyAim),
      figure('HTTP: sustained rate', 'creates/s', spreadOf(rates), rateAim),
    ];
  } finally {
    await service.stop();
  }
}
