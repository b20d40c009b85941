import { connect, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { bhsLength, flag, joinData, makeHeader, requestOpcode, reservedTag } from '../src/protocol/pdu.ts';
import { formatText } from '../src/protocol/text.ts';
import { ManualClock } from './manual-clock.ts';
import { accessId, eventually, gate, iqn, mebibyte, secret, TargetFixture } from './target-fixture.ts';
import { cdbs, type TestInitiator } from './test-initiator.ts';

// Whoever attacks the target costs his own connection at most: it lives, its memory is bounded, and others notice nothing.

let clock: ManualClock;
let target: TargetFixture;
let witness: TestInitiator;
const sockets: Socket[] = [];
beforeEach(async () => {
  clock = new ManualClock();
  target = await TargetFixture.exporting(clock);
  witness = await target.session({ isid: '0000230000ff' });
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  expect((await witness.command(cdbs.read10(0, 8), { expect: 4096 })).status).toBe(0);
  await target.stop();
});

setFlagsFromString('--expose-gc');
const collectGarbage = z.function({ input: [], output: z.void() }).parse(runInNewContext('gc'));

/** Bytes in buffers, of the target and of the test together. */
function bytesHeld(): number {
  collectGarbage();
  const { arrayBuffers, external } = process.memoryUsage();
  return Math.max(arrayBuffers, external);
}

/**
 * Runs `attack` and fails when buffers hold more than `limit` MiB beyond what they held before. Freed buffers are counted
 * for a moment longer: V8 returns them beside the program.
 */
async function growsAtMost(limit: number, attack: () => Promise<void>): Promise<void> {
  const before = bytesHeld();
  await attack();
  let least = Number.POSITIVE_INFINITY;
  for (const end = Date.now() + 5_000; least >= limit && Date.now() < end; await setImmediate()) {
    least = Math.min(least, (bytesHeld() - before) / mebibyte);
  }
  expect(least).toBeLessThan(limit);
}

/** A connection that says nothing by itself. */
const silent = (): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = connect({ port: target.port, host: '127.0.0.1' });
    sockets.push(socket);
    socket.resume();
    socket.on('error', () => {});
    socket.once('connect', () => resolve(socket));
  });

const closed = (): number => sockets.filter((socket) => socket.closed).length;

/** A command of `length` bytes of data, which come with it. */
function write(initiator: TestInitiator, cmdSN: number, length: number): Buffer {
  const bhs = initiator.writeHeader(length / 512);
  bhs.writeUInt32BE(cmdSN, 24);
  return joinData(bhs, Buffer.alloc(length, 1));
}

const ping = (initiator: TestInitiator, length: number): Buffer =>
  joinData(initiator.header(requestOpcode.nopOut, flag.final, true), Buffer.alloc(length, 1));

const loginPdu = (flags: number, data: Buffer): Buffer => {
  const bhs = makeHeader(requestOpcode.login | 0x40, flags, 0);
  bhs.writeUInt16BE(1, 12);
  return joinData(bhs, data);
};

describe('before a login', { timeout: 20_000 }, () => {
  test.each(Object.entries(requestOpcode).filter(([name]) => name !== 'login'))(
    '%s ends the connection unanswered',
    async (_name, opcode) => {
      const initiator = await target.connect();
      initiator.send(initiator.header(opcode, flag.final));
      expect(await initiator.next()).toBeNull();
    },
  );

  test('a login PDU cut anywhere costs nothing but its connection', async () => {
    const whole = loginPdu(
      0x81,
      formatText([
        ['InitiatorName', 'iqn.2026-11.test:host'],
        ['TargetName', iqn()],
      ]),
    );
    for (let length = 1; length < whole.length; length += 7) {
      const socket = await silent();
      socket.end(whole.subarray(0, length));
    }
    await eventually(() => closed() === sockets.length, 'the end of the connections');
  });

  test('additional headers as long as can be are passed over', async () => {
    const initiator = await target.session();
    const bhs = initiator.header(requestOpcode.nopOut, flag.final);
    bhs[4] = 0xff;
    const pdu = joinData(bhs, Buffer.from('ping'));
    initiator.send(Buffer.concat([pdu.subarray(0, bhsLength), Buffer.alloc(1020, 0xff), pdu.subarray(bhsLength)]));
    expect((await initiator.next())!.data.toString()).toBe('ping');
  });

  test('a login that never ends is refused', async () => {
    const initiator = await target.connect();
    const names = { InitiatorName: 'iqn.2026-11.test:host', TargetName: iqn(), AuthMethod: 'CHAP' };
    let { status } = await initiator.loginStep(0, null, names);
    let rounds = 0;
    while (status === 0 && ++rounds < 100)
      ({ status } = await initiator.loginStep(0, null, { [`X-org.example.key${rounds}`]: '1' }));
    expect([status, rounds]).toEqual([0x0200, 32]);
    await initiator.ended();
  });

  test('text of a login that never ends is refused', async () => {
    const initiator = await target.connect();
    let refused = false;
    for (let count = 0; count < 12 && !refused; count++) {
      initiator.send(loginPdu(flag.continues, Buffer.alloc(8192, 0x41)));
      const answer = await initiator.next();
      refused = answer === null || answer.bhs.readUInt16BE(36) !== 0;
    }
    expect(refused).toBe(true);
    await initiator.ended();
  });

  test('a byte a second is not enough', async () => {
    const initiator = await target.connect();
    const pdu = loginPdu(0x81, formatText([['InitiatorName', 'iqn.2026-11.test:host']]));
    for (let at = 0; at < 15; at++) {
      expect(initiator.closed).toBe(false);
      initiator.send(pdu.subarray(at, at + 1));
      await witness.command(cdbs.testUnitReady);
      clock.advance(1_000);
    }
    await initiator.ended();
  });

  test('connections that say nothing, by the thousand, are bounded in number, time and memory', async () => {
    await growsAtMost(32, async () => {
      for (let batch = 0; batch < 15; batch++) await Promise.all(Array.from({ length: 100 }, silent));
      await eventually(() => closed() === 1500 - 1024, 'the refusal of the newest');
      expect((await witness.command(cdbs.testUnitReady)).status).toBe(0);
      clock.advance(15_000);
      await eventually(() => closed() === 1500, 'the end of the others');
    });
    expect(await (await target.connect()).login({ target: iqn(), user: accessId, secret })).toBe(0);
  });

  test('discovery without authentication lasts a minute at most', async () => {
    const initiator = await target.connect();
    expect(await initiator.login({ sessionType: 'Discovery' })).toBe(0);
    for (let quarter = 0; quarter < 4; quarter++) {
      initiator.send(ping(initiator, 4));
      await initiator.next();
      await witness.command(cdbs.testUnitReady);
      clock.advance(15_000);
    }
    await initiator.ended();
  });
});

describe('in a session', { timeout: 20_000 }, () => {
  test('a login request ends the connection', async () => {
    const initiator = await target.session();
    initiator.send(loginPdu(0x81, formatText([['InitiatorName', 'iqn.2026-11.test:host']])));
    await initiator.ended();
  });

  test('more sessions of one target than it has room for are refused', async () => {
    for (let count = 1; count < 16; count++) await target.session({ isid: count.toString(16).padStart(12, '0') });
    const initiator = await target.connect();
    expect(await initiator.login({ target: iqn(), user: accessId, secret, isid: '000000000100' })).toBe(0x0302);
  });

  test('a PDU that comes byte by byte ends the connection when it takes too long', async () => {
    const initiator = await target.session();
    const pdu = ping(initiator, 4);
    for (let second = 0; second < 46 && !initiator.closed; second++) {
      initiator.send(pdu.subarray(second, second + 1));
      await witness.command(cdbs.testUnitReady);
      clock.advance(1_000);
    }
    await initiator.ended();
  });

  test('commands beyond the window are forgotten', async () => {
    const initiator = await target.session();
    await growsAtMost(32, async () => {
      const next = initiator.cmdSN;
      const beyond = initiator.maxCmdSN + 1;
      for (let count = 0; count < 200; count++) {
        initiator.send(Buffer.concat(Array.from({ length: 32 }, (_, index) => write(initiator, beyond + index, 8192))));
        await witness.command(cdbs.testUnitReady);
      }
      // When their numbers come they are not there.
      for (initiator.cmdSN = next; initiator.cmdSN < beyond + 32;) await initiator.command(cdbs.testUnitReady);
    });
    expect(target.device.calls).toEqual([]);
  });

  test('commands that wait for one that never comes are bounded', async () => {
    const initiator = await target.session({ keys: { FirstBurstLength: '262144' } });
    await growsAtMost(32, async () => {
      const next = initiator.cmdSN;
      for (let index = 1; index < 128 && !initiator.closed; index++) {
        initiator.send(write(initiator, next + index, 262_144));
        await witness.command(cdbs.testUnitReady);
      }
      await initiator.ended();
    });
  });

  test('a peer that asks for data and never reads them holds a bounded amount, and is dropped', async () => {
    const initiator = await target.session({ keys: { MaxRecvDataSegmentLength: '262144' } });
    const hold = gate();
    let begun = 0;
    target.device.delays.read = () => {
      begun++;
      return hold.opened;
    };
    await growsAtMost(64, async () => {
      for (let count = 0; count < 120; count++) {
        const bhs = initiator.header(requestOpcode.scsiCommand, flag.final | flag.read);
        bhs.writeUInt32BE(mebibyte, 20);
        Buffer.from(cdbs.read10(0, 2048)).copy(bhs, 32);
        initiator.send(bhs);
      }
      initiator.send(ping(initiator, 4));
      await initiator.next();
      // A session affords 32 MiB.
      expect(begun).toBe(32);
      initiator.stopReading();
      delete target.device.delays.read;
      hold.open();
      for (let count = 0; count < 50; count++) {
        expect((await witness.command(cdbs.read10(0, 2048), { expect: mebibyte })).status).toBe(0);
      }
    });
    for (let quarter = 0; quarter < 4; quarter++) {
      await witness.command(cdbs.testUnitReady);
      clock.advance(15_000);
    }
    await eventually(async () => (await target.service.list())[0]?.sessions.length === 1, 'the end of the session');
  });

  test('a peer that sends pings and reads no answer is not listened to any more', async () => {
    const initiator = await target.session({ keys: { MaxRecvDataSegmentLength: '65536' } });
    initiator.stopReading();
    const count = 1500;
    for (let index = 0; index < count; index++) initiator.send(ping(initiator, 65_536));
    for (let index = 0; index < 200; index++) await witness.command(cdbs.testUnitReady);
    const refused = initiator.unsent / 65_536;
    expect(refused).toBeGreaterThan(count / 2);
    for (let index = 0; index < 200; index++) await witness.command(cdbs.testUnitReady);
    expect(initiator.unsent / 65_536).toBe(refused);
  });

  test('a flood of text is answered', async () => {
    const initiator = await target.session();
    const count = 2000;
    for (let index = 0; index < count; index++) {
      const bhs = initiator.header(requestOpcode.text, flag.final, true);
      bhs.writeUInt32BE(reservedTag, 20);
      initiator.send(joinData(bhs, formatText([['SendTargets', '']])));
    }
    for (let index = 0; index < count; index++) expect((await initiator.next())?.data.toString()).toContain(iqn());
  });

  test('writes whose data never come hold a bounded amount', async () => {
    const initiators = await Promise.all(
      Array.from({ length: 8 }, (_, index) => target.session({ isid: `00002300020${index}`, keys: { ImmediateData: 'No' } })),
    );
    await growsAtMost(160, async () => {
      for (const initiator of initiators) {
        for (let count = 0; count < 128; count++) {
          const bhs = initiator.writeHeader(8192);
          initiator.send(bhs);
        }
        // Some data for the first command, so that its buffer is there.
        const r2t = (await initiator.next())!.bhs;
        initiator.sendData(r2t.readUInt32BE(16), r2t.readUInt32BE(20), 0, 0, Buffer.alloc(512), false);
        initiator.send(ping(initiator, 0));
      }
      expect((await witness.command(cdbs.read10(0, 8), { expect: 4096 })).status).toBe(0);
    });
  });

  test('a device that hangs holds up its commands, and the sessions stay', async () => {
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.write = () => hold.opened;
    const stuck = initiator.begin(cdbs.write10(0, 1), { data: Buffer.alloc(512, 1) });
    initiator.send(ping(initiator, 4));
    expect((await initiator.next())?.data).toHaveLength(4);
    hold.open();
    expect((await stuck.result).status).toBe(0);
  });
});
