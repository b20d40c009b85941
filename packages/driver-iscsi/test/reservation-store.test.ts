import { mkdir, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock, type ExportRequest, type PluginCall } from '@scoria/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { IscsiTransport } from '../src/iscsi-transport.ts';
import { nexusId, noReservations, reservationType, type ReservationState } from '../src/scsi/reservation-state.ts';
import { ReservationStore } from '../src/scsi/reservation-store.ts';
import { freePort } from './free-port.ts';
import { processTransport } from './process-transport.ts';
import { persistentReserveIn, persistentReserveOut, reserveOut } from './scsi-fixture.ts';
import { accessId, eventually, iqn, mebibyte, secret, TargetFixture, volumeId } from './target-fixture.ts';
import { cdbs, TestInitiator } from './test-initiator.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-reservations-'));
});
afterEach(() => rm(directory, { recursive: true }));

const aptpl = 0x01;
const otherAccess = '33333333-3333-4333-8333-333333333333';
const conflict = 0x18;

/** Registers with APTPL, or without, and reserves for exclusive access. */
async function reserveThrough(initiator: TestInitiator, flags: number): Promise<void> {
  const [registering, list] = persistentReserveOut(reserveOut.register, { actionKey: 5n, flags });
  expect((await initiator.command(registering, { data: list })).status).toBe(0);
  const [reserving, key] = persistentReserveOut(reserveOut.reserve, { type: reservationType.exclusiveAccess, key: 5n });
  expect((await initiator.command(reserving, { data: key })).status).toBe(0);
}

const readStatus = async (initiator: TestInitiator): Promise<number> =>
  (await initiator.command(cdbs.read10(0, 1), { expect: 512 })).status;

describe('a store', () => {
  const holder = { initiatorPort: 'iqn.2026-11.test:a,i,0x00023d000001', targetName: iqn(), key: 0xfedcba9876543210n };
  const state: ReservationState = {
    generation: 7,
    persists: true,
    registrations: new Map([[nexusId(holder), holder]]),
    reservation: { type: reservationType.writeExclusive, holder: nexusId(holder) },
  };

  test('gives back what was written, but for the generation, which begins anew', async () => {
    const store = await ReservationStore.open(join(directory, 'new'), silentLog);
    await store.write(volumeId, state);
    const again = await ReservationStore.open(join(directory, 'new'), silentLog);
    expect(again.read(volumeId)).toEqual({ ...state, generation: 0 });
    expect(again.read(accessId)).toBeUndefined();
    expect((await stat(join(directory, 'new'))).mode & 0o777).toBe(0o700);
    expect((await stat(join(directory, 'new', `${volumeId}.json`))).mode & 0o777).toBe(0o600);
  });

  test.each([
    ['does not persist any more', { ...state, persists: false }],
    ['has no registration', { ...noReservations, persists: true }],
  ])('removes the file of a volume that %s', async (_what, last) => {
    const store = await ReservationStore.open(directory, silentLog);
    await store.write(volumeId, state);
    await store.write(volumeId, last);
    expect(await readdir(directory)).toEqual([]);
    expect(store.read(volumeId)).toBeUndefined();
  });

  test('takes no notice of a write that a crash cut short', async () => {
    const store = await ReservationStore.open(directory, silentLog);
    await store.write(volumeId, state);
    await writeFile(join(directory, `${volumeId}.json.new`), '{"version":');
    expect((await ReservationStore.open(directory, silentLog)).read(volumeId)).toEqual({ ...state, generation: 0 });
    expect(await readdir(directory)).toEqual([`${volumeId}.json`]);
  });

  test('says which directory it cannot use', async () => {
    await writeFile(join(directory, 'file'), '');
    const opening = ReservationStore.open(join(directory, 'file'), silentLog);
    await expect(opening).rejects.toMatchObject({ code: 'backend-failed', message: expect.stringContaining(directory) });
  });

  test.each([
    ['is cut off', (text: string) => text.slice(0, 40)],
    ['has another version', (text: string) => text.replace('"version": 1', '"version": 2')],
    ['has a type that is not known', (text: string) => text.replace('"type": 1', '"type": 2')],
    ['is absurdly long', (text: string) => text + ' '.repeat(300_000)],
  ])('refuses a volume whose file %s, and no other', async (_what, damage) => {
    const store = await ReservationStore.open(directory, silentLog);
    await store.write(volumeId, state);
    await store.write(accessId, state);
    const path = join(directory, `${volumeId}.json`);
    await writeFile(path, damage(await readFile(path, 'utf8')));
    const again = await ReservationStore.open(directory, silentLog);
    expect(() => again.read(volumeId)).toThrow(expect.objectContaining({ code: 'backend-failed' }));
    expect(again.read(accessId)).toBeDefined();
  });
});

describe('a target with a state directory', () => {
  const targets: TargetFixture[] = [];
  afterEach(() => Promise.all(targets.splice(0).map((target) => target.stop())));

  const start = async (): Promise<TargetFixture> => {
    const target = new TargetFixture(systemClock, { stateDirectory: directory });
    targets.push(target);
    await target.service.start();
    return target;
  };
  const files = (): Promise<string[]> => readdir(directory);

  test('has reservations across its accesses, and after it was started again', async () => {
    const first = await start();
    await first.export();
    await first.export({ accessId: otherAccess });
    await reserveThrough(await first.session(), aptpl);
    expect(await readStatus(await first.session({ user: otherAccess }))).toBe(conflict);
    await first.stop();
    const second = await start();
    await second.export({ accessId: otherAccess });
    expect(await readStatus(await second.session({ user: otherAccess }))).toBe(conflict);
    await second.export();
    expect(await readStatus(await second.session())).toBe(0);
  });

  test('keeps registrations without APTPL as long as the volume is exported', async () => {
    const target = await start();
    await target.export();
    await target.export({ accessId: otherAccess });
    const holder = await target.session();
    await reserveThrough(holder, 0);
    holder.close();
    expect(await files()).toEqual([]);
    expect(await readStatus(await target.session({ user: otherAccess }))).toBe(conflict);
    expect(await readStatus(await target.session())).toBe(0);
    await target.service.unexport({ accessId });
    await target.service.unexport({ accessId: otherAccess });
    await target.export();
    const { data } = await (await target.session()).command(persistentReserveIn(0), { expect: 8 });
    expect(data.readUInt32BE(4)).toBe(0);
  });

  test('ends the registrations of an access with it, and the file with the last', async () => {
    const target = await start();
    await target.export();
    await target.export({ accessId: otherAccess });
    await reserveThrough(await target.session(), aptpl);
    const other = await target.session({ user: otherAccess });
    const [registering, list] = persistentReserveOut(reserveOut.register, { actionKey: 6n, flags: aptpl });
    await other.command(registering, { data: list });
    await target.service.unexport({ accessId });
    expect(await readStatus(other)).toBe(0);
    expect(await files()).toHaveLength(1);
    await target.service.unexport({ accessId: otherAccess });
    expect(await files()).toEqual([]);
  });

  test('ends the registrations of an access that ended while it was not there', async () => {
    const first = await start();
    await first.export();
    await reserveThrough(await first.session(), aptpl);
    await first.stop();
    const second = await start();
    await second.export({ accessId: otherAccess });
    expect(await readStatus(await second.session({ user: otherAccess }))).toBe(conflict);
    await second.service.unexport({ accessId });
    expect(await readStatus(await second.session({ user: otherAccess }))).toBe(0);
    expect(await files()).toEqual([]);
    await second.stop();
    const third = await start();
    await third.service.unexport({ accessId });
  });

  test('changes nothing that it cannot keep, says so, and ends an access when it can again', async () => {
    const target = await start();
    await target.export();
    const initiator = await target.session();
    await reserveThrough(initiator, aptpl);
    await rm(directory, { recursive: true });
    const [clearing, list] = persistentReserveOut(reserveOut.clear, { key: 5n });
    expect((await initiator.command(clearing, { data: list })).sense).toBe('4/44/00');
    expect((await initiator.command(persistentReserveIn(0), { expect: 16 })).data.readBigUInt64BE(8)).toBe(5n);
    await expect(target.service.unexport({ accessId })).rejects.toMatchObject({ code: 'backend-failed' });
    await mkdir(directory);
    await target.service.unexport({ accessId });
    expect(target.device.closed).toBe(true);
  });

  test('does not export a volume whose reservations it cannot read', async () => {
    await writeFile(join(directory, `${volumeId}.json`), 'nonsense');
    const target = await start();
    await expect(target.export()).rejects.toMatchObject({ code: 'backend-failed' });
    expect(target.opened).toBe(0);
  });
});

describe('a target in a process of its own', () => {
  const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
  let transport: IscsiTransport;
  let port: number;
  const initiators: TestInitiator[] = [];
  beforeEach(async () => {
    await writeFile(join(directory, 'volume'), '');
    await truncate(join(directory, 'volume'), mebibyte);
    port = await freePort();
    transport = processTransport({ directory, port });
    await transport.start(call);
  });
  afterEach(async () => {
    for (const initiator of initiators.splice(0)) initiator.close();
    await transport.stop();
  });

  const request = (id: string): ExportRequest => ({
    accessId: id,
    volumeId,
    device: { kind: 'path', path: join(directory, 'volume'), blockSize: 512 },
    readOnly: false,
    secret,
  });

  /** Logs in as soon as the target is there. */
  const session = (user: string): Promise<TestInitiator> =>
    eventually(async () => {
      try {
        const initiator = await TestInitiator.connect(port);
        initiators.push(initiator);
        if ((await initiator.login({ target: iqn(user), user, secret })) !== 0) return null;
        await initiator.command(cdbs.testUnitReady);
        return initiator;
      } catch {
        return null;
      }
    }, 'a session');

  test('has the reservations that persist after it was killed, and after the control plane was too', async () => {
    for (const id of [accessId, otherAccess]) await transport.export(request(id), call);
    await reserveThrough(await session(accessId), aptpl);
    const before = transport.processId;
    process.kill(before, 'SIGKILL');
    await eventually(() => transport.processId !== before && transport.processId !== 0, 'another process');
    expect(await readStatus(await session(otherAccess))).toBe(conflict);
    expect(await readStatus(await session(accessId))).toBe(0);
    // A control plane that knows of no target process, nor of what it exported.
    process.kill(transport.processId, 'SIGKILL');
    await transport.stop();
    transport = processTransport({ directory, port });
    await transport.start(call);
    for (const id of [accessId, otherAccess]) await transport.export(request(id), call);
    expect(await readStatus(await session(otherAccess))).toBe(conflict);
    expect(await readStatus(await session(accessId))).toBe(0);
  }, 30_000);
});
