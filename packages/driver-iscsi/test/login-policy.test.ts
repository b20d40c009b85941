import { afterEach, describe, expect, test } from 'vitest';
import type { TargetServiceOptions } from '../src/target/target-service.ts';
import { chapResponse, decodeBinary } from '../src/protocol/chap.ts';
import { flag, joinData, makeHeader, opcodeOf, requestOpcode, reservedTag, responseOpcode } from '../src/protocol/pdu.ts';
import { formatText } from '../src/protocol/text.ts';
import { accessId, iqn, secret, TargetFixture } from './target-fixture.ts';
import { cdbs, type TestInitiator } from './test-initiator.ts';

let target: TargetFixture;
afterEach(() => target.stop());

async function serve(options: Partial<TargetServiceOptions>): Promise<void> {
  target = new TargetFixture(undefined, options);
  await target.service.start();
}

/** Lines of the answer to a request for all targets. */
async function sendTargets(initiator: TestInitiator): Promise<string[]> {
  const bhs = initiator.header(requestOpcode.text, flag.final);
  bhs.writeUInt32BE(reservedTag, 20);
  initiator.send(joinData(bhs, formatText([['SendTargets', 'All']])));
  return (await initiator.next())!.data.toString().split('\0').slice(0, -1);
}

describe('mutual CHAP', () => {
  const mutualChap = { name: 'the-target', secret: 'a secret of the target' };

  /** Proves itself, and asks the target to do the same. `challenge` is made from the target's own one. */
  async function prove(challenge: (ours: string) => string, identifier = '17') {
    const initiator = await target.connect();
    await initiator.loginStep(0, null, { InitiatorName: 'iqn.2026-11.test:host', TargetName: iqn(), AuthMethod: 'CHAP' });
    const { keys } = await initiator.loginStep(0, null, { CHAP_A: '7' });
    const theirs = keys.get('CHAP_C') ?? '';
    const response = chapResponse('7', Number(keys.get('CHAP_I')), secret, decodeBinary(theirs));
    const proof = await initiator.loginStep(0, 1, {
      CHAP_N: accessId,
      CHAP_R: `0x${response.toString('hex')}`,
      CHAP_I: identifier,
      CHAP_C: challenge(theirs),
    });
    return { initiator, proof };
  }

  test('proves the target to an initiator that asks for it', async () => {
    await serve({ mutualChap });
    await target.export();
    const { initiator, proof } = await prove(() => '0x0102030405060708');
    expect(proof.keys.get('CHAP_N')).toBe('the-target');
    const expected = chapResponse('7', 17, mutualChap.secret, Buffer.from('0102030405060708', 'hex'));
    expect(decodeBinary(proof.keys.get('CHAP_R') ?? '').equals(expected)).toBe(true);
    expect((await initiator.loginStep(1, 3, {})).status).toBe(0);
    expect((await initiator.command(cdbs.testUnitReady)).sense).toBe('6/29/00');
  });

  test('is not forced on an initiator that does not ask', async () => {
    await serve({ mutualChap });
    await target.export();
    expect((await (await target.session()).command(cdbs.testUnitReady)).status).toBe(0);
  });

  test.each([
    ['its own challenge', (ours: string) => ours, '17'],
    ['its own challenge in another form', (ours: string) => `0b${decodeBinary(ours).toString('base64')}`, '17'],
    ['an identifier beyond a byte', () => '0x0102030405060708', '256'],
    ['a challenge longer than allowed', () => `0x${'00'.repeat(1025)}`, '17'],
  ])('refuses %s', async (_what, challenge, identifier) => {
    await serve({ mutualChap });
    await target.export();
    const { initiator, proof } = await prove(challenge, identifier);
    expect([proof.status, proof.keys.get('CHAP_R')]).toEqual([0x0201, undefined]);
    await initiator.ended();
  });

  test('is refused where both secrets are the same, or the target has none', async () => {
    await serve({ mutualChap: { name: 'the-target', secret } });
    await target.export();
    expect((await prove(() => '0x0102030405060708')).proof.status).toBe(0x0201);
    await target.stop();
    await serve({});
    await target.export();
    expect((await prove(() => '0x0102030405060708')).proof.status).toBe(0x0201);
  });

  test('does not answer before the initiator has proved itself', async () => {
    await serve({ mutualChap });
    await target.export();
    const initiator = await target.connect();
    await initiator.loginStep(0, null, { InitiatorName: 'iqn.2026-11.test:host', TargetName: iqn(), AuthMethod: 'CHAP' });
    await initiator.loginStep(0, null, { CHAP_A: '7' });
    const answer = await initiator.loginStep(0, 1, { CHAP_N: accessId, CHAP_R: '0x00', CHAP_I: '1', CHAP_C: '0x01020304' });
    expect([answer.status, answer.keys.size]).toEqual([0x0201, 0]);
  });

  test('takes no response that was heard in another login', async () => {
    await serve({ mutualChap });
    await target.export();
    const responses: string[] = [];
    for (const isid of ['000023000001', '000023000002']) {
      const initiator = await target.connect();
      const first = { InitiatorName: 'iqn.2026-11.test:host', TargetName: iqn(), AuthMethod: 'CHAP' };
      await initiator.loginStep(0, null, first, isid);
      const { keys } = await initiator.loginStep(0, null, { CHAP_A: '7' }, isid);
      const challenge = decodeBinary(keys.get('CHAP_C') ?? '');
      responses.push(`0x${chapResponse('7', Number(keys.get('CHAP_I')), secret, challenge).toString('hex')}`);
      const { status } = await initiator.loginStep(0, 1, { CHAP_N: accessId, CHAP_R: responses[0]! }, isid);
      expect(status).toBe(isid === '000023000001' ? 0 : 0x0201);
    }
  });
});

describe('with authentication by initiator name', () => {
  const initiatorName = 'iqn.2026-11.test:host';
  const bound = { initiator: initiatorName };

  test('the connector may log in without a secret, and nobody else', async () => {
    await serve({ authentication: 'initiator-name' });
    await target.export(bound);
    const initiator = await target.connect();
    expect(await initiator.login({ target: iqn(), initiatorName: initiatorName.toUpperCase() })).toBe(0);
    expect((await initiator.command(cdbs.testUnitReady)).sense).toBe('6/29/00');
    const other = await target.connect();
    expect(await other.login({ target: iqn(), initiatorName: 'iqn.2026-11.test:other' })).toBe(0x0202);
  });

  test('the security stage may be left out, and CHAP alone will not do', async () => {
    await serve({ authentication: 'initiator-name' });
    await target.export(bound);
    const names = { InitiatorName: initiatorName, TargetName: iqn() };
    expect((await (await target.connect()).loginStep(1, 3, names)).status).toBe(0);
    expect((await (await target.connect()).loginStep(0, null, { ...names, AuthMethod: 'CHAP' })).status).toBe(0x0201);
    expect(
      (await (await target.connect()).loginStep(0, null, { ...names, AuthMethod: 'CHAP,None' })).keys.get('AuthMethod'),
    ).toBe('None');
  });

  test('an access without an initiator is refused', async () => {
    await serve({ authentication: 'initiator-name' });
    await expect(target.export()).rejects.toMatchObject({ code: 'invalid-input' });
    expect(await target.service.list()).toEqual([]);
  });

  test('discovery tells an initiator of the accesses that are bound to it', async () => {
    await serve({ authentication: 'initiator-name' });
    await target.export(bound);
    await target.export({ accessId: '33333333-3333-4333-8333-333333333333', initiator: 'iqn.2026-11.test:other' });
    const initiator = await target.connect();
    expect(await initiator.login({ sessionType: 'Discovery', initiatorName })).toBe(0);
    expect(await sendTargets(initiator)).toEqual([`TargetName=${iqn()}`, `TargetAddress=127.0.0.1:${target.port},1`]);
  });
});

describe('redirection', () => {
  test('sends every normal login elsewhere, and asks who is logged in to come again', async () => {
    await serve({});
    await target.export();
    const initiator = await target.session();
    await target.service.redirect({ address: '192.0.2.7:3260' });
    const message = (await initiator.next())!.bhs;
    expect([opcodeOf(message), message[36], message.readUInt16BE(42)]).toEqual([responseOpcode.asyncMessage, 1, 60]);
    expect((await initiator.command(cdbs.testUnitReady)).status).toBe(0);
    const other = await target.connect();
    expect(await other.login({ target: iqn(), user: accessId, secret })).toBe(0x0101);
    expect(other.keys.get('TargetAddress')).toBe('192.0.2.7:3260');
    await other.ended();
    const discovery = await target.connect();
    expect(await discovery.login({ user: accessId, secret, sessionType: 'Discovery' })).toBe(0);
    await target.service.redirect({ address: null });
    expect(await (await target.connect()).login({ target: iqn(), user: accessId, secret, isid: '000023000003' })).toBe(0);
  });
});

test('a second connection cannot join a session', async () => {
  await serve({});
  await target.export();
  const first = await target.connect();
  expect(await first.login({ target: iqn(), user: accessId, secret })).toBe(0);
  const join = async (tsih: number): Promise<number> => {
    const initiator = await target.connect();
    const bhs = makeHeader(requestOpcode.login | 0x40, 0x81, 0);
    bhs.writeUInt16BE(tsih, 14);
    initiator.send(joinData(bhs, formatText([['InitiatorName', 'iqn.2026-11.test:host']])));
    return (await initiator.next())!.bhs.readUInt16BE(36);
  };
  // Too many connections, and no such session (RFC 7143, 11.13.5).
  expect([await join(1), await join(4711)]).toEqual([0x0206, 0x020a]);
  expect((await first.command(cdbs.testUnitReady)).sense).toBe('6/29/00');
});

describe('several portals', () => {
  test('of both families serve the same targets, and all are told in discovery', async () => {
    const listen = [
      { host: '127.0.0.1', port: 0 },
      { host: '::1', port: 0 },
    ];
    await serve({ listen });
    await target.export();
    const [v4, v6] = target.service.addresses.map(({ port }) => port);
    const first = await target.connect({ port: v4! });
    const second = await target.connect({ port: v6!, host: '::1' });
    expect(await first.login({ target: iqn(), user: accessId, secret })).toBe(0);
    expect(await second.login({ target: iqn(), user: accessId, secret, isid: '000023000002' })).toBe(0);
    expect((await target.service.list())[0]?.sessions).toHaveLength(2);
    const discovery = await target.connect({ port: v6!, host: '::1' });
    expect(await discovery.login({ user: accessId, secret, sessionType: 'Discovery' })).toBe(0);
    expect(await sendTargets(discovery)).toEqual([`TargetName=${iqn()}`, `TargetAddress=[::1]:${v6},1`]);
    await target.stop();
    // With known addresses an initiator hears of each of them.
    await serve({
      listen: [
        { host: '127.0.0.1', port: v4! },
        { host: '::1', port: v6! },
      ],
    });
    await target.export();
    const again = await target.connect({ port: v4! });
    expect(await again.login({ user: accessId, secret, sessionType: 'Discovery' })).toBe(0);
    expect(await sendTargets(again)).toEqual([
      `TargetName=${iqn()}`,
      `TargetAddress=127.0.0.1:${v4},1`,
      `TargetAddress=[::1]:${v6},1`,
    ]);
  });

  test('on a socket of both families an IPv4 initiator is told an IPv4 address', async () => {
    await serve({ listen: [{ host: '::', port: 0 }] });
    await target.export();
    const initiator = await target.connect();
    expect(await initiator.login({ user: accessId, secret, sessionType: 'Discovery' })).toBe(0);
    expect((await sendTargets(initiator))[1]).toBe(`TargetAddress=127.0.0.1:${target.port},1`);
  });
});
