import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { flag, joinData, opcodeOf, requestOpcode, reservedTag, responseOpcode, taskFunction } from '../src/protocol/pdu.ts';
import { formatText, parseText } from '../src/protocol/text.ts';
import { accessId, eventually, gate, iqn, mebibyte, secret, TargetFixture, volumeId } from './target-fixture.ts';
import { cdbs } from './test-initiator.ts';

let target: TargetFixture;
beforeEach(async () => {
  target = await TargetFixture.exporting();
});
afterEach(() => target.stop());

describe('login', () => {
  test.each(['5', '7', '7,5', '6,8,5'])('succeeds with the secret, CHAP algorithms %s', async (algorithms) => {
    const initiator = await target.connect();
    expect(await initiator.login({ target: iqn(), user: accessId, secret, algorithms })).toBe(0);
    expect(initiator.keys.get('TargetPortalGroupTag')).toBe('1');
  });

  test.each([
    ['a wrong secret', { user: accessId, secret: 'something else' }, 0x0201],
    ['an unknown name', { user: 'someone', secret }, 0x0201],
    ['no algorithm in common', { user: accessId, secret, algorithms: '6' }, 0x0201],
    ['no authentication', {}, 0x0201],
    ['no CHAP among the methods', { user: accessId, secret, authMethod: 'SRP,KRB5' }, 0x0201],
    ['an unknown target', { user: accessId, secret, target: iqn('00000000-0000-4000-8000-000000000000') }, 0x0203],
    ['an operational key out of bounds', { user: accessId, secret, keys: { MaxBurstLength: '0' } }, 0x0200],
  ])('is refused with %s', async (_what, options, status) => {
    const initiator = await target.connect();
    expect(await initiator.login({ target: iqn(), ...options })).toBe(status);
    await initiator.ended();
  });

  test('is refused when it skips the security stage', async () => {
    const initiator = await target.connect();
    const answer = await initiator.loginStep(1, 3, { InitiatorName: 'iqn.2026-11.test:host', TargetName: iqn() });
    expect(answer.status).toBe(0x0201);
  });

  test('is refused when it reflects our challenge', async () => {
    const initiator = await target.connect();
    await initiator.loginStep(0, null, { InitiatorName: 'iqn.2026-11.test:host', TargetName: iqn(), AuthMethod: 'CHAP' });
    const challenge = await initiator.loginStep(0, null, { CHAP_A: '5' });
    const reflected = challenge.keys.get('CHAP_C') ?? '';
    const answer = await initiator.loginStep(0, 1, { CHAP_N: accessId, CHAP_R: '0x00', CHAP_I: '1', CHAP_C: reflected });
    expect(answer.status).toBe(0x0201);
  });

  test('holds to the initiator name that an access is bound to', async () => {
    await target.export({ initiator: 'iqn.2026-11.test:bound' });
    const other = await target.connect();
    expect(await other.login({ target: iqn(), user: accessId, secret })).toBe(0x0202);
    const bound = await target.connect();
    expect(await bound.login({ target: iqn(), user: accessId, secret, initiatorName: 'iqn.2026-11.test:bound' })).toBe(0);
  });

  test('negotiates within bounds', async () => {
    const initiator = await target.session({
      keys: {
        MaxBurstLength: '16776192',
        FirstBurstLength: '262144',
        MaxOutstandingR2T: '8',
        ErrorRecoveryLevel: '2',
        MaxConnections: '4',
        InitialR2T: 'No',
        ImmediateData: 'Yes',
        'X-org.example.unknown': '1',
      },
    });
    expect(Object.fromEntries(initiator.keys)).toMatchObject({
      MaxBurstLength: '1048576',
      FirstBurstLength: '262144',
      MaxOutstandingR2T: '4',
      ErrorRecoveryLevel: '0',
      MaxConnections: '1',
      InitialR2T: 'No',
      ImmediateData: 'Yes',
      MaxRecvDataSegmentLength: '262144',
      'X-org.example.unknown': 'NotUnderstood',
    });
  });

  test('of the same initiator and ISID takes the place of the first session', async () => {
    const first = await target.session();
    const second = await target.connect();
    expect(await second.login({ target: iqn(), user: accessId, secret })).toBe(0);
    await first.ended();
    expect((await second.command(cdbs.testUnitReady)).sense).toBe('6/29/07');
  });

  test('of another ISID stands beside the first session', async () => {
    const first = await target.session();
    const second = await target.session({ isid: '000023000002' });
    expect((await first.command(cdbs.testUnitReady)).status).toBe(0);
    expect((await second.command(cdbs.testUnitReady)).status).toBe(0);
    expect((await target.service.list())[0]?.sessions).toHaveLength(2);
  });
});

describe('discovery', () => {
  const sendTargets = async (options: { readonly user?: string; readonly secret?: string }): Promise<Map<string, string>> => {
    const initiator = await target.connect();
    expect(await initiator.login({ ...options, sessionType: 'Discovery' })).toBe(0);
    initiator.send(joinData(textHeader(initiator.header(requestOpcode.text, flag.final)), formatText([['SendTargets', 'All']])));
    const answer = await initiator.next();
    expect(opcodeOf(answer!.bhs)).toBe(responseOpcode.text);
    return parseText(answer!.data);
  };
  const textHeader = (bhs: Buffer): Buffer => {
    bhs.writeUInt32BE(reservedTag, 20);
    return bhs;
  };

  test('tells a user of CHAP of its own access and of no other', async () => {
    await target.export({ accessId: '33333333-3333-4333-8333-333333333333' });
    expect(Object.fromEntries(await sendTargets({ user: accessId, secret }))).toEqual({
      TargetName: iqn(),
      TargetAddress: `127.0.0.1:${target.port},1`,
    });
  });

  test('tells nobody else of anything', async () => {
    expect(await sendTargets({})).toEqual(new Map());
  });
});

describe('data', () => {
  const combinations = [true, false].flatMap((initialR2T) =>
    [true, false].map((immediateData) => ({ initialR2T, immediateData })),
  );

  test.each(combinations)('go both ways with %o', async ({ initialR2T, immediateData }) => {
    const initiator = await target.session({
      keys: {
        InitialR2T: initialR2T ? 'Yes' : 'No',
        ImmediateData: immediateData ? 'Yes' : 'No',
        MaxBurstLength: '65536',
        FirstBurstLength: '16384',
        MaxOutstandingR2T: '2',
        MaxRecvDataSegmentLength: '8192',
      },
    });
    const data = Buffer.from(Array.from({ length: 600 * 512 }, (_, index) => (index * 31) & 255));
    const written = await initiator.command(cdbs.write10(7, 600), { data, immediate: immediateData ? 4096 : 0 });
    expect(written).toMatchObject({ status: 0, underflow: 0, overflow: 0 });
    const read = await initiator.command(cdbs.read10(7, 600), { expect: data.length });
    expect(read.data.equals(data)).toBe(true);
  });

  test('come unsolicited in a first burst', async () => {
    const initiator = await target.session({ keys: { InitialR2T: 'No', FirstBurstLength: '4096' } });
    const data = Buffer.alloc(8192, 0x5a);
    const bhs = initiator.header(requestOpcode.scsiCommand, flag.write);
    bhs.writeUInt32BE(data.length, 20);
    Buffer.from(cdbs.write10(0, 16)).copy(bhs, 32);
    initiator.send(joinData(bhs, data.subarray(0, 1024)));
    const taskTag = bhs.readUInt32BE(16);
    initiator.sendData(taskTag, reservedTag, 0, 1024, data.subarray(1024, 2048), false);
    initiator.sendData(taskTag, reservedTag, 1, 2048, data.subarray(2048, 4096), true);
    const r2t = (await initiator.next())!.bhs;
    expect([opcodeOf(r2t), r2t.readUInt32BE(40), r2t.readUInt32BE(44)]).toEqual([responseOpcode.r2t, 4096, 4096]);
    initiator.sendData(taskTag, r2t.readUInt32BE(20), 0, 4096, data.subarray(4096), true);
    expect((await initiator.next())!.bhs[3]).toBe(0);
    expect(target.device.content.subarray(0, 8192).equals(data)).toBe(true);
  });

  test('that nobody asked for end the connection, and only that one', async () => {
    const other = await target.session({ isid: '000023000009' });
    const initiator = await target.session();
    const { taskTag, result } = initiator.begin(cdbs.write10(0, 8), { data: Buffer.alloc(4096), immediate: 0 });
    result.catch(() => {});
    initiator.sendData(taskTag, 12_345, 0, 0, Buffer.alloc(512), false);
    await initiator.ended();
    expect((await other.command(cdbs.testUnitReady)).status).toBe(0);
  });

  test.each([
    ['a wrong transfer tag', { transferTag: 1, dataSN: 0, offset: 0, length: 4096, final: true }],
    ['a wrong offset', { transferTag: 0, dataSN: 0, offset: 512, length: 3584, final: true }],
    ['more bytes than were asked for', { transferTag: 0, dataSN: 0, offset: 0, length: 4608, final: true }],
    ['an end before the last byte', { transferTag: 0, dataSN: 0, offset: 0, length: 512, final: true }],
    ['no end after the last byte', { transferTag: 0, dataSN: 0, offset: 0, length: 4096, final: false }],
  ])('with %s end the connection, and are not written', async (_what, { transferTag, dataSN, offset, length, final }) => {
    const initiator = await target.session();
    const bhs = initiator.writeHeader(8);
    initiator.send(bhs);
    const r2t = (await initiator.next())!.bhs;
    initiator.sendData(bhs.readUInt32BE(16), r2t.readUInt32BE(20) + transferTag, dataSN, offset, Buffer.alloc(length, 1), final);
    await initiator.ended();
    expect(target.device.calls).toEqual([]);
  });

  test('whose numbers tell that others are missing end the command, and are not written', async () => {
    const initiator = await target.session();
    const bhs = initiator.writeHeader(8);
    initiator.send(bhs);
    const r2t = (await initiator.next())!.bhs;
    initiator.sendData(bhs.readUInt32BE(16), r2t.readUInt32BE(20), 1, 0, Buffer.alloc(2048, 1), false);
    initiator.sendData(bhs.readUInt32BE(16), r2t.readUInt32BE(20), 0, 2048, Buffer.alloc(2048, 1), true);
    const { bhs: response, data } = (await initiator.next())!;
    // Aborted command, protocol service CRC error (RFC 7143, 7.9 and 11.4.7.2).
    expect([response[3], data[4]! & 0x0f, data[14], data[15]]).toEqual([0x02, 0x0b, 0x47, 0x05]);
    expect(target.device.calls).toEqual([]);
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('segments longer than allowed end the connection', async () => {
    const initiator = await target.session();
    const bhs = initiator.header(requestOpcode.nopOut, flag.final);
    bhs[5] = 0x10;
    initiator.send(bhs);
    await initiator.ended();
  });

  test('residuals are told both ways', async () => {
    const initiator = await target.session();
    expect(await initiator.command(cdbs.read10(0, 1), { expect: 1024 })).toMatchObject({ status: 0, underflow: 512 });
    expect(await initiator.command(cdbs.read10(0, 2), { expect: 512 })).toMatchObject({ status: 0, overflow: 512 });
    expect(await initiator.command(cdbs.write10(0, 1), { data: Buffer.alloc(1024) })).toMatchObject({
      status: 0,
      underflow: 512,
    });
    expect(await initiator.command(cdbs.write10(0, 2), { data: Buffer.alloc(512) })).toMatchObject({ status: 0, overflow: 512 });
  });
});

describe('a session', () => {
  test('ignores commands outside its window', async () => {
    const initiator = await target.session();
    initiator.cmdSN = initiator.maxCmdSN + 1;
    initiator.begin(cdbs.write10(0, 1), { data: Buffer.alloc(512, 1) }).result.catch(() => {});
    initiator.cmdSN = initiator.maxCmdSN - 127;
    expect((await initiator.command(cdbs.read10(0, 1), { expect: 512 })).data.equals(Buffer.alloc(512))).toBe(true);
  });

  test('runs commands in the order of their numbers when they come out of order', async () => {
    const initiator = await target.session();
    const first = initiator.cmdSN;
    initiator.cmdSN = first + 1;
    const second = initiator.begin(cdbs.write10(0, 1), { data: Buffer.alloc(512, 2) });
    initiator.cmdSN = first;
    await initiator.command(cdbs.write10(0, 1), { data: Buffer.alloc(512, 1) });
    await second.result;
    expect(target.device.content[0]).toBe(2);
  });

  test('closes its window while commands are under way, and opens it again', async () => {
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.read = () => hold.opened;
    const width = initiator.maxCmdSN - initiator.cmdSN + 1;
    const reads = Array.from({ length: width }, () => initiator.command(cdbs.read10(0, 1), { expect: 512 }));
    initiator.send(initiator.header(requestOpcode.nopOut, flag.final, true));
    const nop = (await initiator.next())!.bhs;
    expect(nop.readUInt32BE(32)).toBe((nop.readUInt32BE(28) - 1) >>> 0);
    hold.open();
    await Promise.all(reads);
    expect(initiator.maxCmdSN - initiator.cmdSN + 1).toBe(width);
  });

  test('answers a ping with its data', async () => {
    const initiator = await target.session();
    initiator.send(joinData(initiator.header(requestOpcode.nopOut, flag.final), Buffer.from('are you there')));
    const answer = (await initiator.next())!;
    expect([opcodeOf(answer.bhs), answer.data.toString()]).toEqual([responseOpcode.nopIn, 'are you there']);
  });

  test('rejects what it does not know', async () => {
    const initiator = await target.session();
    const request = initiator.header(0x1c, flag.final, true);
    initiator.send(request);
    const answer = (await initiator.next())!;
    expect([opcodeOf(answer.bhs), answer.bhs[2], answer.data.equals(request)]).toEqual([responseOpcode.reject, 0x05, true]);
  });

  test('ends with a logout', async () => {
    const initiator = await target.session();
    initiator.send(initiator.header(requestOpcode.logout, flag.final));
    const answer = (await initiator.next())!;
    expect([opcodeOf(answer.bhs), answer.bhs[2]]).toEqual([responseOpcode.logout, 0]);
    await initiator.ended();
    await eventually(async () => (await target.service.list())[0]?.sessions.length === 0, 'the end of the session');
  });

  test('survives any bytes of one connection', async () => {
    for (const byte of [0x00, 0x01, 0x43, 0x05, 0xff]) {
      const initiator = await target.connect();
      initiator.send(Buffer.alloc(4096, byte));
      await initiator.ended();
    }
    expect((await (await target.session()).command(cdbs.testUnitReady)).status).toBe(0);
  });
});

describe('task management', () => {
  test('abort task is answered when the write can no longer reach the device, and the write is not', async () => {
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.write = () => hold.opened;
    const { taskTag, result } = initiator.begin(cdbs.write10(0, 1), { data: Buffer.alloc(512, 1) });
    let answered = false;
    result.then(
      () => (answered = true),
      () => {},
    );
    const aborted = initiator.manage(taskFunction.abortTask, taskTag);
    let settled = false;
    void aborted.then(() => (settled = true));
    await initiator.command(cdbs.read10(0, 1), { expect: 512 });
    expect(settled).toBe(false);
    hold.open();
    expect(await aborted).toBe(0);
    await initiator.command(cdbs.testUnitReady);
    expect(answered).toBe(false);
    expect(initiator.maxCmdSN - initiator.cmdSN + 1).toBe(128);
  });

  test('abort of a write that waits for its data ends it', async () => {
    const initiator = await target.session({ keys: { ImmediateData: 'No' } });
    const bhs = initiator.writeHeader(1);
    initiator.send(bhs);
    const r2t = (await initiator.next())!.bhs;
    expect(await initiator.manage(taskFunction.abortTask, bhs.readUInt32BE(16))).toBe(0);
    initiator.sendData(bhs.readUInt32BE(16), r2t.readUInt32BE(20), 0, 0, Buffer.alloc(512, 9), true);
    expect((await initiator.command(cdbs.read10(0, 1), { expect: 512 })).data[0]).toBe(0);
  });

  test('of a task that is not there says so', async () => {
    expect(await (await target.session()).manage(taskFunction.abortTask, 4711)).toBe(1);
  });

  test('a reset ends the tasks of all initiators and is told to them', async () => {
    const other = await target.session({ isid: '000023000002' });
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.read = () => hold.opened;
    other.begin(cdbs.read10(0, 1), { expect: 512 }).result.catch(() => {});
    await eventually(() => target.device.delays.read !== undefined, 'the read');
    const reset = initiator.manage(taskFunction.logicalUnitReset);
    hold.open();
    expect(await reset).toBe(0);
    expect((await other.command(cdbs.testUnitReady)).sense).toBe('6/29/03');
    expect((await other.command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('an ordered task waits for those before it, and holds up those after it', async () => {
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.write = () => hold.opened;
    const order: string[] = [];
    const note = (name: string) => () => void order.push(name);
    const first = initiator.command(cdbs.write10(0, 1), { data: Buffer.alloc(512, 1) }).then(note('first'));
    const ordered = initiator.command(cdbs.read10(0, 1), { expect: 512, attribute: 2 }).then(note('ordered'));
    const after = initiator.command(cdbs.testUnitReady).then(note('after'));
    const head = initiator.command(cdbs.testUnitReady, { attribute: 3 }).then(note('head of queue'));
    await head;
    hold.open();
    await Promise.all([first, ordered, after]);
    expect(order).toEqual(['head of queue', 'first', 'ordered', 'after']);
  });
});

describe('many reads at once', { timeout: 20_000 }, () => {
  test('of many sessions share one budget, and each goes on', async () => {
    const keys = { MaxRecvDataSegmentLength: '262144' };
    const sessions = await Promise.all(
      Array.from({ length: 8 }, (_, index) => target.session({ keys, isid: `00002300010${index}` })),
    );
    const underWay: number[] = [];
    let count = 0;
    target.device.delays.read = async () => {
      underWay.push(++count);
      await new Promise((resolve) => setTimeout(resolve, 1));
      count--;
    };
    const reads = sessions.flatMap((session) =>
      Array.from({ length: 8 }, () => session.command(cdbs.read10(0, 8192), { expect: 4 * mebibyte })),
    );
    expect((await Promise.all(reads)).every(({ status }) => status === 0)).toBe(true);
    // 128 MiB in all, and one command of each session that has nothing else under way.
    expect(Math.max(...underWay)).toBeLessThanOrEqual(32 + 7);
  });

  test('are bounded in memory and all answered', async () => {
    const initiator = await target.session({ keys: { MaxRecvDataSegmentLength: '262144' } });
    target.device.content.fill(7);
    const reads = await Promise.all(
      Array.from({ length: 40 }, () => initiator.command(cdbs.read10(0, 8192), { expect: 4 * mebibyte })),
    );
    expect(reads.every((read) => read.status === 0 && read.data.length === 4 * mebibyte && read.data[123_456] === 7)).toBe(true);
    expect(volumeId).toHaveLength(36);
  });
});
