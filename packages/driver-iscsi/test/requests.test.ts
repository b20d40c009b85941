import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  flag,
  joinData,
  makeHeader,
  opcodeOf,
  rejectReason,
  requestOpcode,
  reservedTag,
  responseOpcode,
  taskFunction,
} from '../src/protocol/pdu.ts';
import { formatText, parseText } from '../src/protocol/text.ts';
import { accessId, gate, iqn, secret, TargetFixture } from './target-fixture.ts';
import { cdbs, type Received, type TestInitiator } from './test-initiator.ts';

let target: TargetFixture;
beforeEach(async () => {
  target = await TargetFixture.exporting();
});
afterEach(() => target.stop());

async function discovery(): Promise<TestInitiator> {
  const initiator = await target.connect();
  expect(await initiator.login({ user: accessId, secret, sessionType: 'Discovery' })).toBe(0);
  return initiator;
}

/** A text request; a `transferTag` goes on with an exchange. */
function text(
  initiator: TestInitiator,
  data: Buffer,
  { flags = flag.final as number, transferTag = reservedTag, immediate = false } = {},
): Promise<Received | null> {
  const bhs = initiator.header(requestOpcode.text, flags, immediate);
  bhs.writeUInt32BE(transferTag, 20);
  initiator.send(joinData(bhs, data));
  return initiator.next();
}

const keysOf = (pdu: Received | null): Record<string, string> => Object.fromEntries(parseText(pdu!.data));
const rejection = (pdu: Received | null) => [opcodeOf(pdu!.bhs), pdu!.bhs[2]];
const rejected = (reason: number) => [responseOpcode.reject, reason];

describe('a rejected request', () => {
  test('leaves a gap in the numbers, which the next request fills', async () => {
    const initiator = await target.session();
    const unknown = initiator.header(0x1c, flag.final);
    initiator.send(unknown);
    const reject = (await initiator.next())!;
    expect(rejection(reject)).toEqual(rejected(rejectReason.commandNotSupported));
    expect(reject.data.equals(unknown)).toBe(true);
    expect(reject.bhs.readUInt32BE(28)).toBe(unknown.readUInt32BE(24));
    initiator.cmdSN = unknown.readUInt32BE(24);
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
    expect(initiator.maxCmdSN - initiator.cmdSN + 1).toBe(128);
  });

  test('that is immediate leaves none', async () => {
    const initiator = await target.session();
    initiator.send(initiator.header(0x1c, flag.final, true));
    expect(rejection(await initiator.next())).toEqual(rejected(rejectReason.commandNotSupported));
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('is a command with the tag of one under way, or with the reserved one', async () => {
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.read = () => hold.opened;
    const { taskTag, result } = initiator.begin(cdbs.read10(0, 1), { expect: 512 });
    for (const [tag, reason] of [
      [taskTag, rejectReason.taskInProgress],
      [reservedTag, rejectReason.invalidPduField],
    ] as const) {
      const bhs = initiator.header(requestOpcode.scsiCommand, flag.final);
      bhs.writeUInt32BE(tag, 16);
      initiator.send(bhs);
      expect(rejection(await initiator.next())).toEqual(rejected(reason));
      initiator.cmdSN = bhs.readUInt32BE(24);
    }
    hold.open();
    expect((await result).status).toBe(0);
  });

  test('is a SNACK: nothing is sent again at error recovery level 0', async () => {
    const initiator = await target.session();
    const snack = makeHeader(requestOpcode.snack, flag.final, reservedTag);
    initiator.send(snack);
    expect(rejection(await initiator.next())).toEqual(rejected(rejectReason.snackReject));
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('is an immediate command beyond the number that is taken', async () => {
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.read = () => hold.opened;
    for (let count = 0; count < 17; count++) {
      const bhs = initiator.header(requestOpcode.scsiCommand, flag.final | flag.read, true);
      bhs.writeUInt32BE(512, 20);
      Buffer.from(cdbs.read10(0, 1)).copy(bhs, 32);
      initiator.send(bhs);
    }
    expect(rejection(await initiator.next())).toEqual(rejected(rejectReason.immediateCommandReject));
    hold.open();
    for (let count = 0; count < 16; count++) expect(opcodeOf((await initiator.next())!.bhs)).toBe(responseOpcode.dataIn);
  });
});

describe('numbered requests', () => {
  test('that come twice run once', async () => {
    const initiator = await target.session();
    const bhs = initiator.writeHeader(1);
    const pdu = joinData(bhs, Buffer.alloc(512, 1));
    initiator.send(pdu);
    initiator.send(pdu);
    expect(opcodeOf((await initiator.next())!.bhs)).toBe(responseOpcode.scsiResponse);
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
    expect(target.device.calls.filter((call) => call.startsWith('write'))).toHaveLength(1);
  });

  test('that were lost can be aborted by their number, also when they came early', async () => {
    const initiator = await target.session();
    const lost = initiator.cmdSN;
    initiator.cmdSN += 1;
    const early = initiator.begin(cdbs.write10(0, 1), { data: Buffer.alloc(512, 1) });
    early.result.catch(() => {});
    const later = initiator.command(cdbs.testUnitReady);
    const abort = async (cmdSN: number): Promise<number> => {
      const bhs = initiator.header(requestOpcode.taskManagement, flag.final | taskFunction.abortTask, true);
      bhs.writeUInt32BE(0x7777, 20);
      bhs.writeUInt32BE(cmdSN, 32);
      initiator.send(bhs);
      return (await initiator.next())!.bhs[2]!;
    };
    expect(await abort(lost + 1)).toBe(0);
    expect(await abort(lost + 200)).toBe(1);
    expect(await abort(lost)).toBe(0);
    expect((await later).status).toBe(0);
    expect(await abort(lost)).toBe(1);
    expect(target.device.calls).toEqual([]);
    expect(initiator.maxCmdSN - initiator.cmdSN + 1).toBe(128);
  });

  test('go on past the largest number', async () => {
    const initiator = await target.connect();
    initiator.cmdSN = 0xfffffffe;
    expect(await initiator.login({ target: iqn(), user: accessId, secret })).toBe(0);
    for (let count = 0; count < 4; count++) await initiator.command(cdbs.testUnitReady);
    expect(initiator.cmdSN).toBe(2);
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
  });
});

describe('pings', () => {
  test('that want no answer get none', async () => {
    const initiator = await target.session();
    const ping = makeHeader(requestOpcode.nopOut | 0x40, flag.final, reservedTag);
    ping.writeUInt32BE(reservedTag, 20);
    ping.writeUInt32BE(initiator.cmdSN, 24);
    initiator.send(ping);
    initiator.send(initiator.header(requestOpcode.nopOut, flag.final, true));
    const answer = (await initiator.next())!.bhs;
    expect([opcodeOf(answer), answer.readUInt32BE(16)]).not.toContain(reservedTag);
  });

  test('are answered with as much as the initiator takes', async () => {
    const initiator = await target.session({ keys: { MaxRecvDataSegmentLength: '512' } });
    initiator.send(joinData(initiator.header(requestOpcode.nopOut, flag.final), Buffer.alloc(2000, 7)));
    expect((await initiator.next())!.data).toHaveLength(512);
  });
});

describe('text', () => {
  test('asks a normal session for its own target, and for no other', async () => {
    await target.export({ accessId: '33333333-3333-4333-8333-333333333333' });
    const initiator = await target.session();
    const ask = async (value: string) => keysOf(await text(initiator, formatText([['SendTargets', value]])));
    const own = { TargetName: iqn(), TargetAddress: `127.0.0.1:${target.port},1` };
    expect(await ask('')).toEqual(own);
    expect(await ask(iqn().toUpperCase())).toEqual(own);
    expect(await ask(iqn('33333333-3333-4333-8333-333333333333'))).toEqual({});
    expect(await ask('All')).toEqual({ SendTargets: 'Reject' });
  });

  test('may change how much the initiator takes, and nothing else', async () => {
    const initiator = await target.session();
    const request = formatText([
      ['MaxRecvDataSegmentLength', '512'],
      ['InitiatorAlias', 'host'],
      ['MaxBurstLength', '512'],
      ['X-org.example.unknown', '1'],
    ]);
    expect(keysOf(await text(initiator, request))).toEqual({
      MaxBurstLength: 'Reject',
      'X-org.example.unknown': 'NotUnderstood',
    });
    initiator.send(initiator.header(requestOpcode.nopOut, flag.final));
    await initiator.next();
    initiator.send(joinData(initiator.header(requestOpcode.nopOut, flag.final), Buffer.alloc(2000)));
    expect((await initiator.next())!.data).toHaveLength(512);
  });

  test('may come in parts, and is answered in parts', async () => {
    const initiator = await target.session({ keys: { MaxRecvDataSegmentLength: '512' } });
    const request = formatText(Array.from({ length: 40 }, (_, index) => [`X-org.example.key${index}`, 'value'] as const));
    let transferTag = reservedTag;
    for (let at = 0; at + 300 < request.length; at += 300) {
      const part = (await text(initiator, request.subarray(at, at + 300), { flags: flag.continues, transferTag }))!;
      expect([part.bhs[1], part.data.length]).toEqual([0, 0]);
      transferTag = part.bhs.readUInt32BE(20);
    }
    const parts: Buffer[] = [];
    let answer = (await text(initiator, request.subarray(-(request.length % 300)), { transferTag }))!;
    for (;;) {
      expect(answer.data.length).toBeLessThanOrEqual(512);
      parts.push(answer.data);
      if ((answer.bhs[1]! & flag.continues) === 0) break;
      answer = (await text(initiator, Buffer.alloc(0), { transferTag: answer.bhs.readUInt32BE(20) }))!;
    }
    expect([answer.bhs[1], answer.bhs.readUInt32BE(20)]).toEqual([flag.final, reservedTag]);
    expect([...parseText(Buffer.concat(parts)).values()]).toEqual(Array.from({ length: 40 }, () => 'NotUnderstood'));
    expect(parts.length).toBeGreaterThan(2);
  });

  test.each([
    ['an exchange that does not exist', { transferTag: 77 }, rejectReason.invalidPduField],
    ['an end that continues', { flags: flag.final | flag.continues }, rejectReason.invalidPduField],
  ])('of %s is rejected', async (_what, options, reason) => {
    const initiator = await target.session();
    expect(rejection(await text(initiator, Buffer.alloc(0), { ...options, immediate: true }))).toEqual(rejected(reason));
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
  });

  test('that is malformed is rejected', async () => {
    const initiator = await target.session();
    expect(rejection(await text(initiator, Buffer.from('no pair\0'), { immediate: true }))).toEqual(
      rejected(rejectReason.protocolError),
    );
  });

  test('without end ends the connection', async () => {
    const initiator = await target.session();
    let transferTag = reservedTag;
    for (let count = 0; count < 8; count++) {
      const part = await text(initiator, Buffer.alloc(8192, 0x41), { flags: flag.continues, transferTag });
      transferTag = part!.bhs.readUInt32BE(20);
    }
    expect(await text(initiator, Buffer.alloc(8192, 0x41), { flags: flag.continues, transferTag })).toBeNull();
  });
});

describe('a discovery session', () => {
  test('takes no commands and no task management', async () => {
    const initiator = await discovery();
    for (const opcode of [requestOpcode.scsiCommand, requestOpcode.taskManagement]) {
      initiator.send(initiator.header(opcode, flag.final, true));
      expect(rejection(await initiator.next())).toEqual(rejected(rejectReason.protocolError));
    }
    initiator.send(initiator.header(requestOpcode.nopOut, flag.final));
    expect(opcodeOf((await initiator.next())!.bhs)).toBe(responseOpcode.nopIn);
  });

  test('has no use for the keys of a normal session', async () => {
    const initiator = await target.connect();
    const keys = { InitialR2T: 'No', MaxBurstLength: '1024', MaxRecvDataSegmentLength: '4096', ErrorRecoveryLevel: '0' };
    expect(await initiator.login({ user: accessId, secret, sessionType: 'Discovery', keys })).toBe(0);
    expect(Object.fromEntries(initiator.keys)).toMatchObject({
      InitialR2T: 'Irrelevant',
      MaxBurstLength: 'Irrelevant',
      ErrorRecoveryLevel: '0',
    });
  });

  test('is asked for all targets or for one by its name', async () => {
    const initiator = await discovery();
    const ask = async (value: string) => keysOf(await text(initiator, formatText([['SendTargets', value]])));
    expect((await ask('All'))['TargetName']).toBe(iqn());
    expect((await ask(iqn()))['TargetName']).toBe(iqn());
    expect(await ask(iqn('33333333-3333-4333-8333-333333333333'))).toEqual({});
    expect(await ask('')).toEqual({ SendTargets: 'Reject' });
  });

  test('ends with a logout of the session only', async () => {
    const initiator = await discovery();
    initiator.send(initiator.header(requestOpcode.logout, flag.final | 1, true));
    expect(rejection(await initiator.next())).toEqual(rejected(rejectReason.invalidPduField));
    initiator.send(initiator.header(requestOpcode.logout, flag.final, true));
    expect(opcodeOf((await initiator.next())!.bhs)).toBe(responseOpcode.logout);
    await initiator.ended();
  });
});

describe('a logout', () => {
  const logout = async (initiator: TestInitiator, reason: number, connectionId = 0): Promise<Received> => {
    const bhs = initiator.header(requestOpcode.logout, flag.final | reason, true);
    bhs.writeUInt16BE(connectionId, 20);
    initiator.send(bhs);
    return (await initiator.next())!;
  };

  test('closes the connection that it names, after the tasks under way', async () => {
    const initiator = await target.session();
    const hold = gate();
    target.device.delays.write = () => hold.opened;
    initiator.begin(cdbs.write10(0, 1), { data: Buffer.alloc(512, 1) }).result.catch(() => {});
    const answered = logout(initiator, 1);
    hold.open();
    const { bhs } = await answered;
    expect([opcodeOf(bhs), bhs[2], bhs.readUInt16BE(40), bhs.readUInt16BE(42)]).toEqual([responseOpcode.logout, 0, 2, 0]);
    await initiator.ended();
  });

  test('of a connection that does not exist, or for a recovery, is answered with that', async () => {
    const initiator = await target.session();
    expect((await logout(initiator, 1, 9)).bhs[2]).toBe(1);
    expect((await logout(initiator, 2)).bhs[2]).toBe(2);
    expect(rejection(await logout(initiator, 3))).toEqual(rejected(rejectReason.invalidPduField));
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
  });
});

describe('an initiator is told', () => {
  test('that its session is dropped when the access ends', async () => {
    const initiator = await target.session();
    const ended = target.service.unexport({ accessId });
    const message = (await initiator.next())!.bhs;
    expect([opcodeOf(message), message[36], message.readUInt16BE(40), message.readUInt16BE(42)]).toEqual([
      responseOpcode.asyncMessage,
      3,
      2,
      0,
    ]);
    await initiator.ended();
    await ended;
  });

  test('to log out when the target stops', async () => {
    const initiator = await target.session();
    const stopped = target.service.stop();
    const message = (await initiator.next())!.bhs;
    expect([opcodeOf(message), message[36], message.readUInt16BE(42)]).toEqual([responseOpcode.asyncMessage, 1, 1]);
    initiator.send(initiator.header(requestOpcode.logout, flag.final, true));
    expect(opcodeOf((await initiator.next())!.bhs)).toBe(responseOpcode.logout);
    await Promise.all([initiator.ended(), stopped]);
  });
});
