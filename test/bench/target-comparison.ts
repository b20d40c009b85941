import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog, systemClock, systemRandom, type PluginCall } from '@scoria/core';
import { iscsiConfiguration, IscsiTransport } from '@scoria/driver-iscsi';
import { programPath, qemuBench, randomReads, type Workload } from './load-generators.ts';
import { startTgt, type ServedTarget, type TargetRequest } from './reference-target.ts';
import { range, short, type Section } from './report.ts';
import { freePort } from './service-process.ts';
import { spreadOf } from './statistics.ts';

/** How much is measured. */
export interface TargetEffort {
  readonly rounds: number;
  /** Of each run of random reads. */
  readonly seconds: number;
  /** Requests of each run of `qemu-img bench`, for 4 KiB; for 128 KiB a quarter of it. */
  readonly requests: number;
}

const memoryDirectory = '/dev/shm';
const tmpfsMagic = 0x01021994;
const programs = ['tgtd', 'tgtadm', 'iscsi-perf', 'qemu-img'];
const fileSize = 256 * 2 ** 20;
/** From one request to the next: past any read-ahead, and through the whole file in the end. */
const stride = 4 * 2 ** 20 + 8192;
const title = '5. Embedded iSCSI target beside tgt, the same tmpfs file';

/** Both targets serve one file, with CHAP, in turns; what counts is the ratio within each round. */
export async function measureTargets(directory: string, effort: TargetEffort): Promise<Section> {
  const missing = programs.filter((name) => programPath(name) === undefined);
  if (missing.length > 0)
    return skipped(`${missing.join(', ')} not found (Debian: tgt, libiscsi-bin, qemu-utils, qemu-block-extra)`);
  if (!existsSync(memoryDirectory) || (await statfs(memoryDirectory)).type !== tmpfsMagic) {
    return skipped(`${memoryDirectory} is no tmpfs`);
  }
  const place = await mkdtemp(join(memoryDirectory, 'scoria-bench-'));
  const targets: ServedTarget[] = [];
  try {
    const file = join(place, 'volume');
    await writeRandom(file);
    const request = async (): Promise<TargetRequest> => ({
      ...{ directory, file, port: await freePort(), user: systemRandom.uuid() },
      secret: Buffer.from(systemRandom.bytes(7)).toString('hex'),
    });
    const ours = await startEmbedded(await request());
    targets.push(ours);
    const theirs = await startTgt(await request());
    targets.push(theirs);
    return await compare(ours.url, theirs.url, effort);
  } finally {
    for (const target of targets) await target.stop();
    await rm(place, { recursive: true });
  }
}

async function compare(ours: string, theirs: string, { rounds, seconds, requests }: TargetEffort): Promise<Section> {
  const workloads: Workload[] = [
    randomReads(1),
    randomReads(32),
    qemuBench({
      name: '4 KiB spread write, 32 at once',
      write: true,
      bytes: 4096,
      step: stride,
      depth: 32,
      requests,
      unit: 'IOPS',
    }),
    qemuBench({
      ...{ name: '128 KiB sequential read, 8 at once', bytes: 131_072, step: 131_072, depth: 8 },
      ...{ requests: requests / 4, unit: 'MiB/s' },
    }),
  ];
  const rows: string[][] = [];
  for (const { name, unit, run } of workloads) {
    const [mine, reference, ratios]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < rounds; round++) {
      const [a, b] = [await run(ours, seconds), await run(theirs, seconds)];
      mine.push(a);
      reference.push(b);
      ratios.push(a / b);
    }
    const ratio = spreadOf(ratios);
    rows.push([name, unit, short(spreadOf(mine).median), short(spreadOf(reference).median), short(ratio.median), range(ratio)]);
  }
  return {
    title,
    header: ['load', 'unit', 'embedded', 'tgt', 'ratio', 'lowest to highest round'],
    rows,
    notes: [
      `${rounds} rounds, in turns; medians, and the median of the ratios; aim of the design: about 1. Embedded: the target process of driver-iscsi. tgt: backing store "rdwr". CHAP on both.`,
      "Random reads by libiscsi's iscsi-perf, which has the least overhead of what is at hand; the rest by qemu-img bench. Generator and target share the cores.",
    ],
  };
}

/** The transport as the service uses it: the target in a process of its own. */
async function startEmbedded({ directory, port, file, user, secret }: TargetRequest): Promise<ServedTarget> {
  const transport = new IscsiTransport({
    name: 'bench',
    config: iscsiConfiguration.parse({ listen: [`127.0.0.1:${port}`] }),
    baseDirectory: directory,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    openers: {},
  });
  const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
  await transport.start(call);
  const access = {
    ...{ accessId: user, volumeId: systemRandom.uuid(), readOnly: false, secret },
    device: { kind: 'path', path: file, blockSize: 512 as const },
  };
  await transport.export(access, call);
  const { target_iqn: name } = transport.connectionInfo(access).data;
  return { url: `iscsi://${user}%${secret}@127.0.0.1:${port}/${String(name)}/0`, stop: () => transport.stop() };
}

async function writeRandom(file: string): Promise<void> {
  const handle = await open(file, 'wx', 0o600);
  try {
    const block = randomBytes(2 ** 20);
    for (let at = 0; at < fileSize; at += block.length) await handle.write(block, 0, block.length, at);
  } finally {
    await handle.close();
  }
}

function skipped(reason: string): Section {
  return { title, header: [], rows: [], notes: [`Skipped: ${reason}.`] };
}
