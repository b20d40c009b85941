import { beforeEach, describe, expect, test } from 'vitest';
import type { Nexus } from '../src/scsi/command.ts';
import { maxRegistrations, reservationType } from '../src/scsi/reservation-state.ts';
import { formatTransportId, initiatorPortName, parseTransportId } from '../src/scsi/transport-id.ts';
import { gate } from './target-fixture.ts';
import {
  attentions,
  persistentReserveIn,
  persistentReserveOut,
  reserved,
  reserveOut,
  ScsiFixture,
  type ReserveOutOptions,
} from './scsi-fixture.ts';

const { writeExclusive, exclusiveAccess, writeExclusiveRegistrants, exclusiveAccessAll, writeExclusiveAll } = reservationType;

let fixture: ScsiFixture;
let a: Nexus;
let b: Nexus;
let c: Nexus;
beforeEach(() => {
  fixture = new ScsiFixture();
  a = fixture.nexus('a');
  b = fixture.nexus('b');
  c = fixture.nexus('c');
});

const out = (nexus: Nexus, action: number, options: ReserveOutOptions): Promise<string> =>
  fixture.outcome(nexus, ...persistentReserveOut(action, options));
const register = (nexus: Nexus, actionKey: bigint, key = 0n): Promise<string> =>
  out(nexus, reserveOut.register, { key, actionKey });

describe('REGISTER', () => {
  test('registers, changes the key, and unregisters, by the key that is there', async () => {
    expect(await register(a, 5n, 1n)).toBe('conflict');
    expect(await register(a, 5n)).toBe('good');
    expect(await register(a, 6n)).toBe('conflict');
    expect(await register(a, 6n, 5n)).toBe('good');
    expect(await fixture.keys()).toEqual({ keys: [6n], generation: 2 });
    expect(await register(a, 0n, 6n)).toBe('good');
    expect(await fixture.keys()).toEqual({ keys: [], generation: 3 });
    expect(await register(a, 0n)).toBe('good');
    expect((await fixture.keys()).generation).toBe(3);
  });

  test('AND IGNORE EXISTING KEY needs no key', async () => {
    await register(a, 5n);
    expect(await out(a, reserveOut.registerIgnoringKey, { key: 99n, actionKey: 6n })).toBe('good');
    expect((await fixture.keys()).keys).toEqual([6n]);
    expect(await out(a, reserveOut.registerIgnoringKey, { actionKey: 0n })).toBe('good');
    expect((await fixture.keys()).keys).toEqual([]);
  });

  test('is for one nexus: another ISID or target is another one', async () => {
    const otherSession = fixture.nexus('a', 't', { isid: '00023d000002' });
    const otherTarget = fixture.nexus('a', 'u');
    await reserved(fixture, exclusiveAccess, a);
    for (const nexus of [otherSession, otherTarget]) {
      expect(await fixture.outcome(nexus, [0x28, 0, 0, 0, 0, 0, 0, 0, 1])).toBe('conflict');
    }
    // The same name in other letters is the same initiator (RFC 7143, 4.2.7.1).
    const sameAgain = fixture.nexus('A');
    expect(await fixture.outcome(sameAgain, [0x28, 0, 0, 0, 0, 0, 0, 0, 1])).toBe('good');
  });

  test('with ALL_TG_PT registers with every target', async () => {
    fixture.nexus('b', 'u');
    await out(a, reserveOut.register, { actionKey: 5n, flags: 0x04 });
    const { data } = await fixture.run(c, persistentReserveIn(3));
    const size = 24 + data.readUInt32BE(8 + 20);
    expect(data.readUInt32BE(4)).toBe(2 * size);
    expect([data.readUInt16BE(8 + 18), data.readUInt16BE(8 + size + 18)]).toEqual([1, 2]);
    await out(a, reserveOut.register, { key: 5n, actionKey: 0n, flags: 0x04 });
    expect((await fixture.keys()).keys).toEqual([]);
  });

  test('with SPEC_I_PT registers other initiators along, all or none', async () => {
    const list = (...ids: Buffer[]): Buffer => {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(Buffer.concat(ids).length, 0);
      return Buffer.concat([length, ...ids]);
    };
    const id = formatTransportId(initiatorPortName(b.initiatorName, b.isid));
    const damaged = Buffer.from(id);
    damaged[0] = 0x06;
    const options = { actionKey: 5n, flags: 0x08 };
    expect(await out(a, reserveOut.register, { ...options, more: list(id, damaged) })).toBe('5/26/00');
    expect((await fixture.keys()).keys).toEqual([]);
    expect(await out(a, reserveOut.registerIgnoringKey, { ...options, more: list(id) })).toBe('5/26/00');
    expect(await out(a, reserveOut.register, { ...options, more: list(id) })).toBe('good');
    expect((await fixture.keys()).keys).toEqual([5n, 5n]);
    expect(await register(b, 6n, 5n)).toBe('good');
  });

  test('has an end', async () => {
    for (let index = 0; index < maxRegistrations; index++) {
      const isid = index.toString(16).padStart(12, '0');
      expect(await register(fixture.nexus('many', 't', { isid }), 1n)).toBe('good');
    }
    expect(await register(a, 1n)).toBe('5/55/04');
  });
});

describe('RESERVE', () => {
  test('needs a registration with its key, a known type and the scope of the logical unit', async () => {
    expect(await out(a, reserveOut.reserve, { type: writeExclusive })).toBe('conflict');
    await register(a, 1n);
    expect(await out(a, reserveOut.reserve, { type: writeExclusive, key: 2n })).toBe('conflict');
    expect(await out(a, reserveOut.reserve, { type: 2, key: 1n })).toBe('5/24/00');
    expect(await out(a, reserveOut.reserve, { type: writeExclusive, scope: 1, key: 1n })).toBe('5/24/00');
    expect(await out(a, reserveOut.reserve, { type: writeExclusive, key: 1n })).toBe('good');
    expect(await fixture.reservation()).toEqual({ type: writeExclusive, key: 1n });
    expect((await fixture.keys()).generation).toBe(1);
  });

  test('may be repeated by the holder as it was, and is refused to others', async () => {
    await reserved(fixture, writeExclusive, a, b);
    expect(await out(a, reserveOut.reserve, { type: writeExclusive, key: 1n })).toBe('good');
    expect(await out(a, reserveOut.reserve, { type: exclusiveAccess, key: 1n })).toBe('conflict');
    expect(await out(b, reserveOut.reserve, { type: writeExclusive, key: 2n })).toBe('conflict');
  });

  test('for all registrants has no key, and every registrant for a holder', async () => {
    await reserved(fixture, exclusiveAccessAll, a, b);
    expect(await fixture.reservation()).toEqual({ type: exclusiveAccessAll, key: 0n });
    expect(await out(b, reserveOut.reserve, { type: exclusiveAccessAll, key: 2n })).toBe('good');
  });
});

describe('RELEASE', () => {
  test('is for the holder, with the type that it has; of others it does nothing', async () => {
    await reserved(fixture, writeExclusive, a, b);
    expect(await out(c, reserveOut.release, { type: writeExclusive })).toBe('conflict');
    expect(await out(b, reserveOut.release, { type: writeExclusive, key: 2n })).toBe('good');
    expect(await fixture.reservation()).not.toBeNull();
    expect(await out(a, reserveOut.release, { type: exclusiveAccess, key: 1n })).toBe('5/26/04');
    expect(await out(a, reserveOut.release, { type: writeExclusive, key: 1n })).toBe('good');
    expect(await fixture.reservation()).toBeNull();
    expect([attentions(a), attentions(b)]).toEqual([[], []]);
  });

  test.each([writeExclusiveRegistrants, exclusiveAccessAll])('of type %i tells the other registrants', async (type) => {
    await reserved(fixture, type, a, b);
    await out(a, reserveOut.release, { type, key: 1n });
    expect([attentions(a), attentions(b), attentions(c)]).toEqual([[], ['2a/4'], []]);
  });

  test.each([
    [writeExclusive, []],
    [writeExclusiveRegistrants, ['2a/4']],
  ])('comes with the end of the registration of the holder, of type %i', async (type, told) => {
    await reserved(fixture, type, a, b);
    await register(a, 0n, 1n);
    expect(await fixture.reservation()).toBeNull();
    expect(attentions(b)).toEqual(told);
  });

  test('for all registrants comes with the end of the last registration', async () => {
    await reserved(fixture, writeExclusiveAll, a, b);
    await register(a, 0n, 1n);
    expect(await fixture.reservation()).not.toBeNull();
    await register(b, 0n, 2n);
    expect(await fixture.reservation()).toBeNull();
  });
});

test('CLEAR ends all registrations, and tells the others', async () => {
  await reserved(fixture, exclusiveAccess, a, b);
  expect(await out(c, reserveOut.clear, { key: 0n })).toBe('conflict');
  expect(await out(b, reserveOut.clear, { key: 2n })).toBe('good');
  expect(await fixture.keys()).toEqual({ keys: [], generation: 3 });
  expect(await fixture.reservation()).toBeNull();
  expect([attentions(a), attentions(b), attentions(c)]).toEqual([['2a/3'], [], []]);
});

describe('REGISTER AND MOVE', () => {
  const move = (nexus: Nexus, key: bigint, to: Nexus, actionKey: bigint, flags = 0, port = 1): Promise<string> => {
    const id = formatTransportId(initiatorPortName(to.initiatorName, to.isid));
    const list = Buffer.alloc(24);
    list.writeBigUInt64BE(key, 0);
    list.writeBigUInt64BE(actionKey, 8);
    list[17] = flags;
    list.writeUInt16BE(port, 18);
    list.writeUInt32BE(id.length, 20);
    const data = Buffer.concat([list, id]);
    return fixture.outcome(nexus, [0x5f, 7, 0, 0, 0, 0, 0, 0, data.length, 0], data);
  };

  test('gives the reservation to another nexus, which is registered by that', async () => {
    await reserved(fixture, writeExclusive, a);
    expect(await move(a, 1n, b, 7n)).toBe('good');
    expect(await fixture.reservation()).toEqual({ type: writeExclusive, key: 7n });
    expect((await fixture.keys()).keys).toEqual([1n, 7n]);
    expect(await move(b, 7n, a, 8n, 0x02)).toBe('good');
    expect((await fixture.keys()).keys).toEqual([8n]);
    expect(await fixture.reservation()).toEqual({ type: writeExclusive, key: 8n });
  });

  test('is refused to who does not hold it, to oneself, and to a port that is not there', async () => {
    expect(await move(a, 0n, b, 7n)).toBe('conflict');
    await register(b, 2n);
    expect(await move(b, 2n, a, 7n)).toBe('5/24/00');
    await reserved(fixture, writeExclusive, a);
    expect(await move(b, 2n, a, 7n)).toBe('conflict');
    expect(await move(a, 1n, b, 0n)).toBe('5/26/00');
    expect(await move(a, 1n, a, 7n)).toBe('5/26/00');
    expect(await move(a, 1n, b, 7n, 0, 9)).toBe('5/26/00');
  });
});

describe('PERSISTENT RESERVE IN', () => {
  test('tells capabilities', async () => {
    const { data } = await fixture.run(c, persistentReserveIn(2));
    expect(data.toString('hex')).toBe('00081d80ea010000');
    await out(a, reserveOut.register, { actionKey: 1n, flags: 0x01 });
    expect((await fixture.run(c, persistentReserveIn(2))).data[3]).toBe(0x81);
  });

  test('tells who is registered, through which port, and who holds the reservation', async () => {
    const through = fixture.nexus('b', 'u');
    await reserved(fixture, writeExclusive, a, through);
    const { data } = await fixture.run(c, persistentReserveIn(3));
    const first = data.subarray(8, 8 + 24 + data.readUInt32BE(28));
    const second = data.subarray(8 + first.length);
    expect([first.readBigUInt64BE(0), first[12], first[13], first.readUInt16BE(18)]).toEqual([1n, 1, writeExclusive, 1]);
    expect([second.readBigUInt64BE(0), second[12], second[13], second.readUInt16BE(18)]).toEqual([2n, 0, 0, 2]);
    expect(parseTransportId(first.subarray(24))).toBe('iqn.2026-11.test:a,i,0x00023d000001');
    // The port is the one that device identification names (SPC-4, 7.8.6.7).
    const identification = await fixture.run(through, [0x12, 1, 0x83, 0, 255, 0]);
    expect(identification.data.includes(Buffer.of(0x51, 0x94, 0, 4, 0, 0, 0, 2))).toBe(true);
  });

  test('of all registrants names every one a holder', async () => {
    await reserved(fixture, writeExclusiveAll, a, b);
    const { data } = await fixture.run(c, persistentReserveIn(3));
    const size = 24 + data.readUInt32BE(28);
    expect([data[20], data[20 + size]]).toEqual([1, 1]);
  });

  test('is cut to the room there is, and tells the whole length', async () => {
    await register(a, 1n);
    await register(b, 2n);
    const { data } = await fixture.run(c, persistentReserveIn(0, 12));
    expect([data.length, data.readUInt32BE(4)]).toEqual([12, 16]);
  });

  test('knows no other service action', async () => {
    for (let action = 4; action < 32; action++) {
      expect(await fixture.outcome(c, persistentReserveIn(action))).toBe('5/24/00');
    }
  });
});

describe('a parameter list', () => {
  test.each([
    [0, '5/1a/00'],
    [23, '5/1a/00'],
    [25, '5/1a/00'],
    [20_000, '5/1a/00'],
  ])('of %i bytes is refused', async (length, sense) => {
    const cdb = [0x5f, 0, 0, 0, 0, 0, 0, length >> 8, length & 255, 0];
    expect(await fixture.outcome(a, cdb, Buffer.alloc(length))).toBe(sense);
  });
});

describe('APTPL', () => {
  test('keeps a change before it is answered and in effect', async () => {
    const held = gate();
    fixture.keep = () => held.opened;
    const registering = out(a, reserveOut.register, { actionKey: 1n, flags: 0x01 });
    expect((await fixture.keys()).keys).toEqual([]);
    expect(fixture.kept).toEqual([]);
    held.open();
    expect(await registering).toBe('good');
    await out(a, reserveOut.reserve, { type: writeExclusive, key: 1n });
    expect(fixture.kept.map(({ reservation: kept }) => kept?.type)).toEqual([undefined, writeExclusive]);
  });

  test('is taken back by a registration without it', async () => {
    await out(a, reserveOut.register, { actionKey: 1n, flags: 0x01 });
    await register(b, 2n);
    expect(fixture.kept.at(-1)?.persists).toBe(false);
    await register(c, 3n);
    expect(fixture.kept).toHaveLength(2);
  });

  test('changes nothing where it cannot be kept', async () => {
    await register(a, 1n);
    fixture.keep = () => Promise.reject(new Error('the disk is full'));
    expect(await out(b, reserveOut.register, { actionKey: 2n, flags: 0x01 })).toBe('4/44/00');
    expect((await fixture.keys()).keys).toEqual([1n]);
  });

  test('is refused where there is no place for it', async () => {
    fixture = new ScsiFixture({ persists: false });
    expect(await out(fixture.nexus('a'), reserveOut.register, { actionKey: 1n, flags: 0x01 })).toBe('5/26/00');
    expect((await fixture.run(fixture.nexus('b'), persistentReserveIn(2))).data[2]).toBe(0x1c);
  });
});

test('an access that may not write registers, and takes the volume from nobody', async () => {
  const reader = fixture.nexus('reader', 't', { readOnly: true });
  expect(await register(reader, 9n)).toBe('good');
  for (const action of [reserveOut.reserve, reserveOut.clear, reserveOut.preempt, reserveOut.preemptAndAbort]) {
    expect(await out(reader, action, { type: writeExclusive, key: 9n, actionKey: 9n })).toBe('7/27/00');
  }
  expect(await fixture.outcome(reader, [0x16])).toBe('7/27/00');
  await reserved(fixture, reservationType.exclusiveAccessRegistrants, a);
  expect(await fixture.outcome(reader, [0x28, 0, 0, 0, 0, 0, 0, 0, 1])).toBe('good');
  expect(await out(reader, reserveOut.release, { key: 9n })).toBe('good');
  expect(await register(reader, 0n, 9n)).toBe('good');
});

describe('registrations', () => {
  test('outlive the session and a reset', async () => {
    await reserved(fixture, exclusiveAccess, a);
    fixture.unit.loseNexus(a);
    fixture.unit.reset();
    expect(await fixture.outcome(b, [0x28, 0, 0, 0, 0, 0, 0, 0, 1])).toBe('conflict');
    expect(await fixture.outcome(fixture.nexus('a'), [0x28, 0, 0, 0, 0, 0, 0, 0, 1])).toBe('good');
  });

  test('end with their target, and the reservation of such a holder', async () => {
    const through = fixture.nexus('b', 'u');
    await reserved(fixture, writeExclusiveRegistrants, through, a);
    await fixture.unit.removeTarget(through.targetName);
    expect((await fixture.keys()).keys).toEqual([2n]);
    expect(await fixture.reservation()).toBeNull();
    expect(attentions(a)).toEqual(['2a/4']);
  });
});
