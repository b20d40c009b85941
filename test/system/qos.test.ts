import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import type { BlockStorageApi } from './block-storage-api.ts';
import { iscsiUrl, writePattern } from './iscsi-programs.ts';
import { run } from './programs.ts';
import { Service } from './service.ts';

// A limit is a promise, not a speed: what a volume really gets is measured with qemu's initiator, and must be what its
// type says. Volumes of all kinds are measured at the same time, since none of them comes near what the machine can do.

/** One kind of load on a volume of a type of its own. */
interface Measurement {
  readonly name: string;
  /** Keys of the QoS spec. */
  readonly specs: Readonly<Record<string, string>>;
  /** GiB. */
  readonly size: number;
  readonly writes: boolean;
  /** Bytes of each request. */
  readonly request: number;
  readonly depth: number;
  /** What the limit comes to: requests per second, and requests that may come at once. */
  readonly rate: number;
  readonly burst: number;
}

const kibibyte = 1024;
const mebibyte = 1_048_576;

const measurements: readonly Measurement[] = [
  {
    name: 'read IOPS',
    specs: { read_iops_sec: '400' },
    size: 1,
    writes: false,
    request: 4 * kibibyte,
    depth: 16,
    rate: 400,
    burst: 40,
  },
  {
    name: 'write IOPS',
    specs: { write_iops_sec: '300' },
    size: 1,
    writes: true,
    request: 4 * kibibyte,
    depth: 8,
    rate: 300,
    burst: 30,
  },
  {
    name: 'bytes read per second',
    specs: { read_bytes_sec: String(8 * mebibyte) },
    size: 1,
    writes: false,
    request: 64 * kibibyte,
    depth: 8,
    rate: 128,
    burst: 12.8,
  },
  {
    name: 'bytes written per second, requests larger than the burst',
    specs: { write_bytes_sec: String(8 * mebibyte) },
    size: 1,
    writes: true,
    request: mebibyte,
    depth: 4,
    rate: 8,
    burst: 1,
  },
  {
    name: 'IOPS for each GiB',
    specs: { total_iops_sec_per_gb: '100' },
    size: 3,
    writes: true,
    request: 4 * kibibyte,
    depth: 8,
    rate: 300,
    burst: 30,
  },
  {
    name: 'a burst',
    specs: { total_iops_sec: '200', total_iops_sec_max: '1000' },
    size: 1,
    writes: false,
    request: 4 * kibibyte,
    depth: 32,
    rate: 200,
    burst: 1000,
  },
];

/** Seconds that a run takes if the limit is kept. */
const runTime = 10;
const runs = 3;
/** Time in which an empty bucket is full again, ms. */
const rest = 6_000;

let service: Service;
let api: BlockStorageApi;
beforeAll(async () => {
  service = await Service.start();
  api = service.api;
});
afterAll(() => service.end());

const createdType = z.looseObject({ volume_type: z.looseObject({ id: z.string() }) });
const createdSpec = z.looseObject({ qos_specs: z.looseObject({ id: z.string() }) });

async function limitedType(name: string, specs: Readonly<Record<string, string>>): Promise<void> {
  const type = createdType.parse((await api.call(200, 'POST', '/types', { volume_type: { name } })).body).volume_type.id;
  const spec = createdSpec.parse((await api.call(200, 'POST', '/qos-specs', { qos_specs: { name, ...specs } })).body);
  await api.call(202, 'GET', `/qos-specs/${spec.qos_specs.id}/associate?vol_type_id=${type}`);
}

/** Requests per second of one run, beyond what the burst has given. */
async function measure(url: string, { writes, request, depth, rate, burst }: Measurement): Promise<number> {
  const count = Math.round(rate * runTime + burst);
  const { stdout } = await run(
    'qemu-img',
    [
      'bench',
      '-f',
      'raw',
      '-t',
      'none',
      '-c',
      String(count),
      '-d',
      String(depth),
      '-s',
      String(request),
      ...(writes ? ['-w'] : []),
      url,
    ],
    { must: true, deadline: 60_000 },
  );
  const [, seconds] = /Run completed in ([\d.]+) seconds/.exec(stdout) ?? [];
  if (seconds === undefined) throw new Error(`qemu-img told no time: ${stdout}`);
  return (count - burst) / Number(seconds);
}

test('volumes get what their type allows, within 5 %', { timeout: 120_000 }, async () => {
  const results = await Promise.all(
    measurements.map(async (measurement, index) => {
      const type = `limited-${index}`;
      await limitedType(type, measurement.specs);
      const volume = await api.newVolume({ size: measurement.size, volume_type: type });
      const { connection } = await api.attach(volume);
      // Of what was never written qemu asks once, and reads it no more.
      if (!measurement.writes) await writePattern(connection, 1, '0', '128M');
      const rates: number[] = [];
      for (let round = 0; round < runs; round++) {
        // Opening the volume has taken some of the burst, and so has the run before.
        if (round > 0) await new Promise((resolve) => setTimeout(resolve, rest));
        rates.push(await measure(iscsiUrl(connection), measurement));
      }
      const median = rates.toSorted((a, b) => a - b)[Math.floor(runs / 2)] ?? 0;
      return { ...measurement, rates, deviation: median / measurement.rate - 1 };
    }),
  );
  for (const { name, rate, rates, deviation } of results) {
    const figures = rates.map((each) => each.toFixed(1)).join(', ');
    console.log(`${name}: limit ${rate}/s, measured ${figures}/s, median ${(100 * deviation).toFixed(2)} % off`);
  }
  for (const { name, deviation } of results) expect(Math.abs(deviation), name).toBeLessThan(0.05);
});
