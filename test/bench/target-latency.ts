import { silentLog, systemClock, systemRandom, type ConnectionInfo, type PluginCall } from '@scoria/core';
import { IscsiInitiator } from '@scoria/driver-iscsi/initiator';
import type { ServedTarget } from './reference-target.ts';
import { range, short, type Section } from './report.ts';
import { latencyOf, spreadOf } from './statistics.ts';

/** How much is measured. */
export interface LatencyEffort {
  readonly rounds: number;
  /** Commands of each round and load. */
  readonly commands: number;
}

const call: PluginCall = { signal: new AbortController().signal, fence: 0, progress: () => {} };
const bytes = 4096;
const url = /^iscsi:\/\/([^%]+)%([^@]+)@([^/]+)\/([^/]+)\/([0-9]+)$/;

/** What a client waits for one command of 4 KiB: both targets in turns, the same initiator. */
export async function measureLatency(ours: ServedTarget, theirs: ServedTarget, effort: LatencyEffort): Promise<Section> {
  const rows: string[][] = [];
  for (const { name, write, depth } of [
    { name: '4 KiB random read, 1 at once', write: false, depth: 1 },
    { name: '4 KiB random write, 1 at once', write: true, depth: 1 },
    { name: '4 KiB random read, 32 at once', write: false, depth: 32 },
    { name: '4 KiB random write, 32 at once', write: true, depth: 32 },
  ]) {
    const [mine, reference]: [number[][], number[][]] = [[], []];
    for (let round = 0; round < effort.rounds; round++) {
      mine.push(await commandTimes(ours, effort.commands, depth, write));
      reference.push(await commandTimes(theirs, effort.commands, depth, write));
    }
    const [a, b] = [latencyOf(mine), latencyOf(reference)];
    const ratio = spreadOf(
      mine.map((times, round) => latencyOf([times]).p99.median / latencyOf([reference[round] ?? []]).p99.median),
    );
    rows.push([
      name,
      ...[a.p50, b.p50, a.p99, b.p99].map(({ median }) => short(median * 1000)),
      short(ratio.median),
      range(ratio),
    ]);
  }
  return {
    title: '5e. Latency of one command',
    header: ['load', 'embedded p50, µs', 'tgt p50', 'embedded p99, µs', 'tgt p99', 'ratio of p99', 'lowest to highest round'],
    rows,
    notes: [
      `${effort.rounds} rounds of ${effort.commands} commands, in turns, by the initiator of driver-iscsi, whose own time is in both columns. A ratio below 1 is in favour of the embedded target.`,
    ],
  };
}

/** Milliseconds of each command. */
async function commandTimes(target: ServedTarget, commands: number, depth: number, write: boolean): Promise<number[]> {
  const initiator = new IscsiInitiator({
    ...{ initiatorName: 'iqn.2026-11.org.scoria:bench-host', queueDepth: depth },
    ...{ clock: systemClock, random: systemRandom, log: silentLog },
  });
  const device = await initiator.connect(connectionOf(target), { readOnly: false }, call);
  try {
    const blocks = device.size / bytes;
    const times: number[] = [];
    let left = commands;
    const lane = async () => {
      const buffer = Buffer.alloc(bytes, 7);
      while (left-- > 0) {
        const offset = Math.floor(Math.random() * blocks) * bytes;
        const begun = performance.now();
        await (write ? device.write(buffer, offset) : device.read(buffer, offset));
        times.push(performance.now() - begun);
      }
    };
    await Promise.all(Array.from({ length: depth }, lane));
    return times;
  } finally {
    await device.close();
  }
}

function connectionOf(target: ServedTarget): ConnectionInfo {
  const [, user, secret, portal, name, lun] = url.exec(target.url) ?? [];
  return {
    driverVolumeType: 'iscsi',
    data: {
      ...{ target_portal: portal, target_iqn: name, target_lun: Number(lun) },
      ...{ auth_method: 'CHAP', auth_username: user, auth_password: secret },
    },
  };
}
