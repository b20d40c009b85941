import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { silentLog, systemClock, systemRandom, type PluginCall } from '@scoria/core';
import { iscsiConfiguration, IscsiTransport } from '@scoria/driver-iscsi';
import { programPath, reads, type Workload, writes } from './load-generators.ts';
import { startBareServer, startTgt, type ServedTarget, type TargetRequest } from './reference-target.ts';
import { range, short, type Section } from './report.ts';
import { freePort, processorSeconds, proportionalSetSize } from './service-process.ts';
import { spreadOf } from './statistics.ts';
import { measureLatency } from './target-latency.ts';

/** How much is measured. */
export interface TargetEffort {
  readonly rounds: number;
  /** Of each run of reads. */
  readonly seconds: number;
  /** Requests of each run of 4 KiB writes with 32 under way; the other runs of writes take a share of it. */
  readonly requests: number;
}

const memoryDirectory = '/dev/shm';
const tmpfsMagic = 0x01021994;
const programs = ['tgtd', 'tgtadm', 'iscsi-perf', 'qemu-img'];
const fileSize = 256 * 2 ** 20;
/** From one request to the next: past any read-ahead, and through the whole file in the end. */
const stride = 4 * 2 ** 20 + 8192;
const title = '5. Embedded iSCSI target beside tgt, the same tmpfs file';
const KiB = 1024;
const MiB = 1024 * KiB;

/** Both targets serve one file, with CHAP, in turns; what counts is the ratio within each round. */
export async function measureTargets(directory: string, effort: TargetEffort): Promise<readonly Section[]> {
  const missing = programs.filter((name) => programPath(name) === undefined);
  if (missing.length > 0)
    return [skipped(`${missing.join(', ')} not found (Debian: tgt, libiscsi-bin, qemu-utils, qemu-block-extra)`)];
  if (!existsSync(memoryDirectory) || (await statfs(memoryDirectory)).type !== tmpfsMagic) {
    return [skipped(`${memoryDirectory} is no tmpfs`)];
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
    const bare = await startBareServer();
    targets.push(bare);
    const loads = loadsOf(effort);
    return [
      await compare(title, ours, theirs, loads, { sessions: 1, rounds: effort.rounds }),
      await compare('5b. The same with four sessions', ours, theirs, loads, { sessions: 4, rounds: effort.rounds }),
      await compare('5c. The same with header digests', ours, theirs, loads.filter(takesDigests), {
        ...{ sessions: 1, rounds: effort.rounds, options: '?header_digest=crc32c' },
      }),
      await bound(ours, bare, loads, effort.rounds),
      await measureLatency(ours, theirs, { rounds: effort.rounds, commands: effort.requests / 4 }),
      memory(ours, theirs),
    ];
  } finally {
    for (const target of targets) await target.stop();
    await rm(place, { recursive: true });
  }
}

function loadsOf({ seconds, requests }: TargetEffort): readonly Workload[] {
  const sequential = (bytes: number, name: string): Workload[] => [
    reads({ name: `${name} sequential read, 8 at once`, bytes, depth: 8, random: false, seconds }),
    writes({
      name: `${name} sequential write, 8 at once`,
      bytes,
      depth: 8,
      step: bytes,
      requests: Math.ceil((requests * 32 * KiB) / bytes),
    }),
  ];
  return [
    ...[1, 32].flatMap((depth) => [
      reads({ name: `4 KiB random read, ${depth} at once`, bytes: 4 * KiB, depth, random: true, seconds }),
      writes({
        name: `4 KiB spread write, ${depth} at once`,
        ...{ bytes: 4 * KiB, depth, step: stride, requests: depth === 1 ? requests / 4 : requests },
      }),
    ]),
    ...sequential(128 * KiB, '128 KiB'),
    ...sequential(MiB, '1 MiB'),
  ];
}

/** qemu-img 7.2 ends with a segmentation fault where header digests are agreed on. */
const takesDigests = ({ direction, bytes }: Workload): boolean => direction === 'read' && bytes <= 128 * KiB;

/** What one run of a load came to. */
interface Run {
  /** Commands a second, of all sessions. */
  readonly rate: number;
  /** Processor time of the target for one command, microseconds. */
  readonly cost: number;
}

/** Runs a load in some sessions at once. */
async function runLoad(load: Workload, target: ServedTarget, sessions: number, options: string): Promise<Run> {
  const before = processorSeconds(target.pid);
  const begun = performance.now();
  const rates = await Promise.all(Array.from({ length: sessions }, () => load.run(target.url + options)));
  const elapsed = (performance.now() - begun) / 1000;
  const rate = rates.reduce((sum, each) => sum + each, 0);
  return { rate, cost: ((processorSeconds(target.pid) - before) / (rate * elapsed)) * 1e6 };
}

async function compare(
  heading: string,
  ours: ServedTarget,
  theirs: ServedTarget,
  loads: readonly Workload[],
  { sessions, rounds, options = '' }: { readonly sessions: number; readonly rounds: number; readonly options?: string },
): Promise<Section> {
  const rows: string[][] = [];
  for (const load of loads) {
    const [mine, reference]: [Run[], Run[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      mine.push(await runLoad(load, ours, sessions, options));
      reference.push(await runLoad(load, theirs, sessions, options));
    }
    const ratio = spreadOf(mine.map(({ rate }, round) => rate / (reference[round]?.rate ?? Number.NaN)));
    rows.push([
      ...[load.name, ...rates(load, mine, reference), short(ratio.median), range(ratio)],
      ...[mine, reference].map((runs) => short(spreadOf(runs.map(({ cost }) => cost)).median)),
    ]);
  }
  return {
    title: heading,
    header: ['load', 'unit', 'embedded', 'tgt', 'ratio', 'lowest to highest round', 'µs of CPU a command', 'tgt'],
    rows,
    notes: [
      `${rounds} rounds, in turns; medians, and the median of the ratios. Embedded: the target process of driver-iscsi. tgt: backing store "rdwr". CHAP on both.`,
      "Reads by libiscsi's iscsi-perf, which has the least overhead of what is at hand; writes by qemu-img bench. Generators and target share the cores, so the generator's own work narrows the ratios.",
    ],
  };
}

/** Median rates in a unit that fits the load. */
function rates(load: Workload, ...sides: readonly (readonly Run[])[]): string[] {
  const small = load.bytes < 64 * KiB;
  const medians = sides.map((runs) => spreadOf(runs.map(({ rate }) => (small ? rate : (rate * load.bytes) / MiB))).median);
  return [small ? 'IOPS' : 'MiB/s', ...medians.map(short)];
}

/** How near the target comes to a Node server that does nothing but pass messages of the same sizes. */
async function bound(ours: ServedTarget, bare: ServedTarget, loads: readonly Workload[], rounds: number): Promise<Section> {
  const rows: string[][] = [];
  for (const load of loads) {
    const [mine, most]: [Run[], Run[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      mine.push(await runLoad(load, ours, 1, ''));
      most.push(await runLoad(load, bare, 1, ''));
    }
    const share = spreadOf(mine.map(({ rate }, round) => rate / (most[round]?.rate ?? Number.NaN)));
    rows.push([load.name, ...rates(load, mine, most), short(share.median), range(share)]);
  }
  return {
    title: '5d. Embedded target beside a bare Node socket server of the same messages',
    header: ['load', 'unit', 'embedded', 'bare', 'ratio', 'lowest to highest round'],
    rows,
    notes: [
      'The bare server answers each command from memory, without state, checks, device or CHAP: the bound of one Node process.',
    ],
  };
}

function memory(ours: ServedTarget, theirs: ServedTarget): Section {
  const row = (name: string, { pid }: ServedTarget) => [name, 'MiB', short(proportionalSetSize(pid) / MiB)];
  return {
    title: '5f. Memory (PSS) of the targets after these loads',
    header: ['what', 'unit', 'value'],
    rows: [row('embedded', ours), row('tgt', theirs)],
    notes: [],
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
  const url = `iscsi://${user}%${secret}@127.0.0.1:${port}/${String(name)}/0`;
  return { url, pid: transport.processId, stop: () => transport.stop() };
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
