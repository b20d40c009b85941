import { open } from 'node:fs/promises';
import { startTransport } from '@scoria/conformance';
import { systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import embedded from '../../packages/driver-iscsi/src/index.ts';
import lio from '../../packages/driver-iscsi/src/lio/index.ts';
import { run } from '../system/programs.ts';
import { takeDisks, wipeDisks } from './fixtures/disks.ts';
import { blockSize, DurabilityOracle } from './fixtures/durability-oracle.ts';
import { login, logout, startIscsid } from './fixtures/open-iscsi.ts';
import { volumeGroup } from './fixtures/volume-group.ts';
import { loggedDevice, replay, type LoggedDevice } from './fixtures/write-log.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const connectionSchema = z.object({ target_portal: z.string(), target_iqn: z.string(), auth_username: z.string() });

/** Blocks that the workload writes, and as many that it forces: so few that many are written again. */
const blocks = 512;
const rounds = 6;

/** Numbers that look random and are the same in every run. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

/** Writes, forces, discards and flushes through a disk, and marks in the log of the device below what was acknowledged. */
async function workload(disk: string, device: LoggedDevice, oracle: DurabilityOracle): Promise<void> {
  const random = numbers(1);
  const range = (from = 0) => {
    const count = 1 + Math.floor(random.next().value * 15);
    return { count, block: from + Math.floor(random.next().value * (blocks - count)) };
  };
  await using file = await open(disk, 'r+');
  const write = async ({ block, count }: ReturnType<typeof range>) => {
    const bytes = oracle.write(block, count);
    await file.write(bytes, 0, bytes.length, block * blockSize);
  };
  const mark = async (name: string) => {
    oracle.marked(name);
    await device.mark(name);
  };
  for (let round = 0; round < rounds; round++) {
    for (let index = 0; index < 20; index++) await write(range());
    if (round % 2 === 1) {
      const { block, count } = range();
      // What lies in the cache of the initiator would otherwise come later.
      await file.sync();
      oracle.flushed();
      oracle.discard(block, count);
      await run('blkdiscard', ['--offset', String(block * blockSize), '--length', String(count * blockSize), disk], {
        must: true,
      });
    }
    await file.sync();
    oracle.flushed();
    await mark(`flushed-${round}`);
    for (let index = 0; index < 5; index++) await write(range());
    // One write that is forced, with unflushed ones around it: dd makes it one command with FUA, or a write and a flush.
    // They have blocks of their own, since the log lets a cached write follow a forced one that came later.
    const { block, count } = range(blocks);
    const bytes = oracle.write(block, count);
    {
      await using source = await open('/tmp/forced', 'w');
      await source.write(bytes);
    }
    const whole = [`bs=${bytes.length}`, 'count=1', 'oflag=direct,dsync,seek_bytes', `seek=${block * blockSize}`, 'conv=notrunc'];
    await run('dd', ['if=/tmp/forced', `of=${disk}`, ...whole], { must: true });
    oracle.forced(block, count);
    await mark(`forced-${round}`);
  }
}

describe.each([
  { name: 'the embedded target', plugin: embedded },
  { name: 'LIO', plugin: lio },
])('$name', ({ plugin }) => {
  test('loses nothing that was flushed or forced, whenever the power fails', async () => {
    await using device = await loggedDevice();
    await using _iscsid = await startIscsid();
    const { transport, cleanup } = await startTransport(plugin, { listen: ['127.0.0.1:3260'] });
    const oracle = new DurabilityOracle();
    await transport.start(call);
    try {
      const request: ExportRequest = {
        accessId: systemRandom.uuid(),
        volumeId: systemRandom.uuid(),
        device: { kind: 'path', path: device.path, blockSize: 512 },
        readOnly: false,
        secret: 'a secret of the access',
      };
      await transport.export(request, call);
      const {
        target_iqn: target,
        target_portal: portal,
        auth_username: user,
      } = connectionSchema.parse(transport.connectionInfo(request).data);
      const disk = await login({ target, portal, user, secret: request.secret });
      await workload(disk, device, oracle);
      await logout(target);
      await transport.unexport(request.accessId, call);
    } finally {
      await transport.stop();
      await cleanup();
    }
    await device.end();
    expect(await oracle.faults(device.log)).toEqual([]);
  });
});

test('a device that acknowledges what it has not written is found out', async () => {
  await using device = await loggedDevice();
  const oracle = new DurabilityOracle();
  {
    await using file = await open(device.path, 'r+');
    const bytes = oracle.write(0, 4);
    await file.write(bytes, 0, bytes.length, 0);
    // Nothing is flushed: the bytes are in the page cache.
    oracle.flushed();
    oracle.marked('flushed');
    await device.mark('flushed');
  }
  await device.end();
  const faults = await oracle.faults(device.log);
  expect(faults.slice(0, 4)).toEqual([0, 1, 2, 3].map((block) => `after flushed block ${block} has 0 instead of 1`));
});

test('a thin volume and its snapshots have what was acknowledged, and their pool needs no repair', async () => {
  await using device = await loggedDevice();
  const [spare = ''] = await takeDisks(1);
  const at = 128 * 1024 ** 2;
  /** What each logical volume holds at each mark. */
  const expected = new Map<string, ReadonlyMap<string, Buffer>>();
  {
    await using group = await volumeGroup({ devices: [device.path] });
    await run('lvcreate', ['--type', 'thin-pool', '--name', 'pool', '--size', '64m', group.name], { must: true });
    await run('lvcreate', ['--name', 'thin', '--virtualsize', '256m', '--thinpool', 'pool', group.name], { must: true });
    await using file = await open(`/dev/${group.name}/thin`, 'r+');
    const content = Buffer.alloc(2 * 1024 ** 2);
    const volumes = new Map<string, Buffer>();
    const mark = async (name: string) => {
      expected.set(name, new Map(volumes));
      await device.mark(name);
    };
    for (const round of [1, 2]) {
      content.fill(round, (round - 1) * 256 * 1024, round * 512 * 1024);
      await file.write(content, 0, content.length, at);
      await file.sync();
      volumes.set('thin', Buffer.from(content));
      await mark(`flushed-${round}`);
      const copy = ['--snapshot', '--name', `copy-${round}`, '--setactivationskip', 'n', `${group.name}/thin`];
      await run('lvcreate', copy, { must: true });
      volumes.set(`copy-${round}`, Buffer.from(content));
      await mark(`created-${round}`);
    }
  }
  await device.end();
  for (const [mark, volumes] of expected) {
    await replay(device.log, mark, spare);
    // LVM checks the pool's metadata when it activates it, and refuses what is broken.
    await run('vgchange', ['--activate', 'y', 'lab'], { must: true });
    for (const [name, content] of volumes) {
      await using file = await open(`/dev/lab/${name}`, 'r');
      const { buffer } = await file.read(Buffer.alloc(content.length), 0, content.length, at);
      expect(buffer.equals(content), `${name} at ${mark}`).toBe(true);
    }
    await run('vgremove', ['--yes', '--force', '--force', 'lab'], { must: true });
    await wipeDisks([spare]);
  }
});
