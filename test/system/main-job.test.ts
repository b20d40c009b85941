import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { connectionOf, testConnector, type Attached, type BlockStorageApi, type Connection } from './block-storage-api.ts';
import { holdsPattern, iscsiUrl, qemuIo, QemuIoSession, readWhole, writePattern } from './iscsi-programs.ts';
import { until } from './polling.ts';
import { run } from './programs.ts';
import { Service } from './service.ts';

// The main job: volumes that real initiators use, through the life of a volume. Nothing here knows how Scoria keeps bytes.

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;
let service: Service;
let api: BlockStorageApi;
let scratch: string;

beforeAll(async () => {
  service = await Service.start();
  api = service.api;
  scratch = await mkdtemp(join(tmpdir(), 'main-job-'));
});
afterAll(async () => {
  await rm(scratch, { recursive: true });
  await service.end();
});

/** A piece of a volume that holds one byte over and over. */
interface Piece {
  readonly from: number;
  readonly to: number;
  readonly byte: number;
}

/** Checks every byte of a volume, read through iSCSI: the pieces, later ones over earlier ones, and zeroes elsewhere. */
async function expectContent(connection: Connection, size: number, pieces: readonly Piece[]): Promise<void> {
  const file = join(scratch, 'content.raw');
  await readWhole(connection, file);
  const handle = await open(file, 'r');
  try {
    expect((await handle.stat()).size).toBe(size);
    const step = MiB;
    const [found, wanted] = [Buffer.alloc(step), Buffer.alloc(step)];
    for (let at = 0; at < size; at += step) {
      wanted.fill(0);
      for (const { from, to, byte } of pieces) {
        if (from < at + step && to > at) wanted.fill(byte, Math.max(from - at, 0), Math.min(to - at, step));
      }
      const { bytesRead } = await handle.read(found, 0, step, at);
      if (bytesRead !== step || !found.equals(wanted)) {
        const first = found.findIndex((byte, index) => byte !== wanted[index]);
        expect.fail(`At byte ${at + first} there is ${found[first]}, not ${wanted[first]}`);
      }
    }
  } finally {
    await handle.close();
    await rm(file);
  }
}

/** Whether two volumes are equal byte for byte, as qemu sees it. */
async function areEqual(one: Connection, other: Connection): Promise<boolean> {
  const { code, stdout, stderr } = await run('qemu-img', [
    ...['compare', '-f', 'raw', '-F', 'raw'],
    ...[iscsiUrl(one), iscsiUrl(other)],
  ]);
  if (code > 1) throw new Error(`qemu-img compare failed: ${stdout}${stderr}`);
  return code === 0;
}

const attachedElsewhere = (number: number) => ({
  ...testConnector,
  initiator: `iqn.2026-11.example:host-${number}`,
  host: `host-${number}`,
});

async function remove(volumes: readonly string[], attachments: readonly Attached[] = []): Promise<void> {
  for (const { id } of attachments) await api.detach(id);
  for (const id of volumes) await api.deleteVolume(id);
}

/** Bytes of a volume as READ CAPACITY(16) tells them, in a session of its own. */
async function capacity(connection: Connection): Promise<number> {
  const { stdout } = await run('iscsi-readcapacity16', [iscsiUrl(connection)], { must: true });
  const total = /Total size:\s*(\d+)/.exec(stdout)?.[1];
  if (total === undefined) throw new Error(`No size in: ${stdout}`);
  return Number(total);
}

describe('a host with the secret of an attachment', () => {
  test('finds the volume, writes to it and reads it back', async () => {
    const volume = await api.newVolume({ size: 1, name: 'first' });
    const attached = await api.attach(volume);
    const { connection } = attached;
    expect(connection).toMatchObject({ volume_id: volume, driver_volume_type: 'iscsi', access_mode: 'rw' });
    expect(await api.volume(volume)).toMatchObject({
      status: 'in-use',
      attachments: [{ attachment_id: attached.id, host_name: 'host-1' }],
    });

    await writePattern(connection, 0x5a, '0', '4M');
    await writePattern(connection, 0xa5, '1020M', '4M');
    expect(await holdsPattern(connection, 0x5a, '0', '4M')).toBe(true);
    expect(await holdsPattern(connection, 0, '4M', '64M')).toBe(true);
    expect(await holdsPattern(connection, 0xa5, '1020M', '4M')).toBe(true);

    // SPC-4 7.8.15: the unit serial number page.
    const serial = await run('iscsi-inq', ['-e', '1', '-c', '128', iscsiUrl(connection)], { must: true });
    expect(serial.stdout).toContain(volume);
    expect(await capacity(connection)).toBe(GiB);
    const info = await run('qemu-img', ['info', '--output=json', iscsiUrl(connection)], { must: true });
    expect(JSON.parse(info.stdout)).toMatchObject({ 'virtual-size': GiB });
    await remove([volume], [attached]);
  });

  test('copies an image with qemu-img', async () => {
    const volume = await api.newVolume({ size: 1 });
    const attached = await api.attach(volume);
    const image = join(scratch, 'image.qcow2');
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', image, '256M'], { must: true });
    await run('qemu-io', ['-c', 'write -P 0x11 0 3M', '-c', 'write -P 0x22 200M 2M', image], { must: true });
    await run('qemu-img', ['convert', '-n', '-O', 'raw', image, iscsiUrl(attached.connection)], { must: true });
    await expectContent(attached.connection, GiB, [
      { from: 0, to: 3 * MiB, byte: 0x11 },
      { from: 200 * MiB, to: 202 * MiB, byte: 0x22 },
    ]);
    await remove([volume], [attached]);
  });

  test('is refused with another secret, name or target', async () => {
    const [volume, other] = await Promise.all([api.newVolume({ size: 1 }), api.newVolume({ size: 1 })]);
    const [attached, attachedOther] = await Promise.all([api.attach(volume), api.attach(other)]);
    const { connection } = attached;
    for (const wrong of [
      { ...connection, auth_password: attachedOther.connection.auth_password },
      { ...connection, auth_username: attachedOther.connection.auth_username },
      {
        ...connection,
        auth_username: attachedOther.connection.auth_username,
        auth_password: attachedOther.connection.auth_password,
      },
      { ...connection, target_iqn: `${connection.target_iqn.slice(0, -1)}x` },
    ]) {
      const { code, stdout, stderr } = await run('iscsi-readcapacity16', [iscsiUrl(wrong)]);
      expect(code, stdout + stderr).not.toBe(0);
    }
    await remove([volume, other], [attached, attachedOther]);
  });

  test('of a read-only attachment cannot write', async () => {
    const volume = await api.newVolume({ size: 1 });
    const attached = await api.attach(volume, { ...testConnector, mode: 'ro' });
    const { code, stdout } = await qemuIo(attached.connection, 'write -P 1 0 4k');
    expect(`${code} ${stdout}`).not.toContain('wrote');
    const reading = await run('qemu-io', ['-r', '-f', 'raw', '-c', 'read -P 0 0 1M', iscsiUrl(attached.connection)]);
    expect(reading).toMatchObject({ code: 0 });
    await remove([volume], [attached]);
  });

  test('sees an extend without logging in again', async () => {
    const volume = await api.newVolume({ size: 1 });
    const attached = await api.attach(volume);
    const session = await QemuIoSession.open(attached.connection);
    try {
      expect(await session.command('length')).toContain('1 GiB');
      await api.volumeAction(volume, 'os-extend', { new_size: 2 });
      await until('a volume in use of 2 GiB', async () => {
        const { status, size } = await api.volume(volume);
        return status === 'in-use' && size === 2 ? true : undefined;
      });
      expect(await capacity(attached.connection)).toBe(2 * GiB);
      // qemu asks for the capacity again when it is told of a resize.
      await session.command('truncate 2G');
      expect(await session.command('length')).toContain('2 GiB');
      expect(await session.command('write -P 0x33 2047M 1M')).toContain('wrote 1048576');
      expect(await session.command('read -P 0x33 2047M 1M')).toContain('read 1048576');
      await session.command('flush');
    } finally {
      await session.kill();
    }
    await expectContent(attached.connection, 2 * GiB, [{ from: 2047 * MiB, to: 2048 * MiB, byte: 0x33 }]);
    await remove([volume], [attached]);
  });
});

describe('after a detach', () => {
  test('the secret is refused and an open session cannot write', async () => {
    const volume = await api.newVolume({ size: 1 });
    const attached = await api.attach(volume);
    const session = await QemuIoSession.open(attached.connection);
    try {
      expect(await session.command('write -P 1 0 64k')).toContain('wrote 65536');
      await session.command('flush');
      await api.detach(attached.id);
      expect((await api.volume(volume)).status).toBe('available');
      // qemu tries to log in again for as long as it lives, so that no answer is an answer here.
      const said = await session.command('write -P 2 0 64k', 3_000).catch(() => '');
      expect(said).not.toContain('wrote');
      const again = await run('iscsi-inq', [iscsiUrl(attached.connection)], { deadline: 20_000 });
      expect(again.code).not.toBe(0);

      const next = await api.attach(volume, attachedElsewhere(2));
      expect(next.connection.target_iqn).not.toBe(attached.connection.target_iqn);
      expect(next.connection.auth_password).not.toBe(attached.connection.auth_password);
      expect(await holdsPattern(next.connection, 1, '0', '64k')).toBe(true);
      await remove([volume], [next]);
    } finally {
      await session.kill();
    }
  });

  test('a host keeps its access while another attachment of it counts on it', async () => {
    const volume = await api.newVolume({ size: 1 });
    const instance = crypto.randomUUID();
    const attach = async () => {
      const { body } = await api.call(200, 'POST', '/attachments', {
        attachment: { volume_uuid: volume, instance_uuid: instance, connector: testConnector },
      });
      const schema = z.object({ attachment: z.looseObject({ id: z.string(), connection_info: z.unknown() }) });
      const { attachment } = schema.parse(body);
      return { id: attachment.id, connection: connectionOf(attachment.connection_info) };
    };
    const [first, second] = [await attach(), await attach()];
    expect(second.connection).toMatchObject({ target_iqn: first.connection.target_iqn });
    await api.detach(first.id);
    expect(await capacity(second.connection)).toBe(GiB);
    await api.detach(second.id);
    expect((await run('iscsi-inq', [iscsiUrl(first.connection)])).code).not.toBe(0);
    await remove([volume]);
  });
});

describe('copies of a volume in use', () => {
  const written: readonly Piece[] = [
    { from: 0, to: 48 * MiB, byte: 1 },
    { from: 900 * MiB, to: 910 * MiB, byte: 2 },
  ];
  const afterSnapshot: Piece = { from: 8 * MiB, to: 16 * MiB, byte: 3 };
  const onClone: Piece = { from: 30 * MiB, to: 31 * MiB, byte: 4 };
  const write = ({ connection }: Attached, { from, to, byte }: Piece) =>
    writePattern(connection, byte, `${from}`, `${to - from}`);

  test('differ exactly where they were written, live through a restart, and a revert makes the volume its snapshot', async () => {
    const volume = await api.newVolume({ size: 1, name: 'original' });
    let attached = await api.attach(volume);
    for (const piece of written) await write(attached, piece);
    const snapshot = await api.newSnapshot(volume);
    expect((await api.volume(volume)).status).toBe('in-use');
    await write(attached, afterSnapshot);
    const clone = await api.newVolume({ source_volid: volume, size: 2 });
    const fromSnapshot = await api.newVolume({ snapshot_id: snapshot });
    const [cloned, restored] = await Promise.all([api.attach(clone), api.attach(fromSnapshot)]);
    await write(cloned, onClone);
    await write(attached, { from: 600 * MiB, to: 601 * MiB, byte: 5 });

    const original = [...written, afterSnapshot, { from: 600 * MiB, to: 601 * MiB, byte: 5 }];
    const expectAll = async () => {
      await expectContent(attached.connection, GiB, original);
      await expectContent(cloned.connection, 2 * GiB, [...written, afterSnapshot, onClone]);
      await expectContent(restored.connection, GiB, written);
    };
    await expectAll();
    expect(await areEqual(attached.connection, restored.connection)).toBe(false);

    expect(await service.stop()).toBeLessThan(15_000);
    await service.start();
    api = service.api;
    // The same sessions' secrets: hosts log in again without being told anything.
    await expectAll();

    await api.detach(attached.id);
    await api.volumeAction(volume, 'revert', { snapshot_id: snapshot });
    await api.volumeIs(volume, 'available');
    attached = await api.attach(volume);
    await expectContent(attached.connection, GiB, written);
    expect(await areEqual(attached.connection, restored.connection)).toBe(true);
    await write(attached, { from: 0, to: MiB, byte: 9 });
    await expectContent(restored.connection, GiB, written);

    await remove([clone, fromSnapshot], [attached, cloned, restored]);
    await api.call(202, 'DELETE', `/snapshots/${snapshot}`);
    await until('the end of the snapshot', async () => ((await api.snapshots()).length === 0 ? true : undefined));
    await remove([volume]);
  });
});

test('the older calls attach and detach as well', async () => {
  const volume = await api.newVolume({ size: 1 });
  await api.volumeAction(volume, 'os-reserve', null);
  expect((await api.volume(volume)).status).toBe('attaching');
  await api.volumeAction(volume, 'os-unreserve', null);
  expect((await api.volume(volume)).status).toBe('available');

  await api.volumeAction(volume, 'os-reserve', {});
  const body = await api.volumeAction(volume, 'os-initialize_connection', { connector: testConnector }, 200);
  const schema = z.object({ connection_info: z.looseObject({ driver_volume_type: z.literal('iscsi'), data: z.unknown() }) });
  const connection = connectionOf(schema.parse(body).connection_info.data);
  await writePattern(connection, 7, '0', '1M');
  const instance = crypto.randomUUID();
  await api.volumeAction(volume, 'os-attach', { instance_uuid: instance, mountpoint: '/dev/vdb', mode: 'rw' });
  const inUse = await api.volume(volume);
  expect(inUse).toMatchObject({ status: 'in-use', attachments: [{ server_id: instance, device: '/dev/vdb' }] });
  expect((await api.send('DELETE', `/volumes/${volume}`)).status).toBe(400);
  expect(await holdsPattern(connection, 7, '0', '1M')).toBe(true);

  await api.volumeAction(volume, 'os-begin_detaching', {});
  expect((await api.volume(volume)).status).toBe('detaching');
  await api.volumeAction(volume, 'os-roll_detaching', {});
  expect((await api.volume(volume)).status).toBe('in-use');
  await api.volumeAction(volume, 'os-begin_detaching', {});
  await api.volumeAction(volume, 'os-terminate_connection', { connector: testConnector });
  expect((await run('iscsi-inq', [iscsiUrl(connection)])).code).not.toBe(0);
  await api.volumeAction(volume, 'os-detach', { attachment_id: inUse.attachments[0]?.attachment_id });
  expect(await api.volume(volume)).toMatchObject({ status: 'available', attachments: [] });
  await remove([volume]);
});

test('nothing is left when everything was deleted', async () => {
  expect(await api.volumes()).toEqual([]);
  expect(await api.attachments()).toEqual([]);
  expect(await service.files()).toEqual([]);
  expect(service.query('select id from placements')).toEqual([]);
  expect(service.query('select id from accesses')).toEqual([]);
});
