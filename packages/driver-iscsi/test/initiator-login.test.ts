import { silentLog, systemClock, systemRandom } from '@scoria/core/device';
import { afterEach, describe, expect, test } from 'vitest';
import { discover } from '../src/initiator/index.ts';
import type { TargetServiceOptions } from '../src/target/target-service.ts';
import { freePort } from './free-port.ts';
import { HostileTarget } from './hostile-target.ts';
import { connectDevice, infoOf, initiatorName, makeInitiator, plainCall } from './initiator-fixture.ts';
import { accessId, eventually, iqn, secret, TargetFixture } from './target-fixture.ts';

const targets: TargetFixture[] = [];
afterEach(async () => {
  for (const target of targets.splice(0)) await target.stop();
});

async function start(options: Partial<TargetServiceOptions> = {}): Promise<TargetFixture> {
  const target = new TargetFixture(systemClock, options);
  targets.push(target);
  await target.service.start();
  await target.export({ initiator: initiatorName });
  return target;
}

const mutualChap = { name: 'the-target', secret: 'the secret of the target' };
const surroundings = { initiatorName, clock: systemClock, random: systemRandom, log: silentLog };

describe('CHAP', () => {
  test('one way proves the initiator', async () => {
    const { port } = await start();
    await (await connectDevice(port)).close();
    await expect(connectDevice(port, {}, { auth_password: 'not the secret of it' })).rejects.toMatchObject({
      code: 'not-permitted',
    });
    await expect(connectDevice(port, {}, { auth_username: 'somebody' })).rejects.toMatchObject({ code: 'not-permitted' });
    await expect(connectDevice(port, {}, { auth_method: null })).rejects.toMatchObject({ code: 'not-permitted' });
  });

  test('both ways proves the target, too', async () => {
    const { port } = await start({ mutualChap });
    await (await connectDevice(port, { targetSecret: mutualChap })).close();
    const other = { ...mutualChap, secret: 'another secret of it' };
    await expect(connectDevice(port, { targetSecret: other })).rejects.toMatchObject({ code: 'not-permitted' });
    const named = { ...mutualChap, name: 'another-target' };
    await expect(connectDevice(port, { targetSecret: named })).rejects.toMatchObject({ code: 'not-permitted' });
  });

  test('both ways refuses a target that cannot prove itself, and one secret for both', async () => {
    const { port } = await start();
    await expect(connectDevice(port, { targetSecret: mutualChap })).rejects.toMatchObject({ code: 'not-permitted' });
    const same = { name: 'the-target', secret };
    await expect(connectDevice(port, { targetSecret: same })).rejects.toMatchObject({ code: 'invalid-input' });
    const unproved = connectDevice(port, { targetSecret: mutualChap }, { auth_method: null });
    await expect(unproved).rejects.toMatchObject({ code: 'not-permitted' });
  });

  test('goes back to MD5 where the target means something else by the number of SHA-256', async () => {
    const { port } = await start();
    let proofs = 0;
    let chosen: string | undefined;
    const server = HostileTarget.between(
      () => port,
      (bhs, data) => {
        const text = data.toString();
        const answersProof = chosen === '7' && !text.includes('CHAP_A');
        chosen = /CHAP_A=(\d)/.exec(text)?.[1];
        if (!answersProof) return [[bhs, data]];
        proofs++;
        bhs.writeUInt16BE(0x0200, 36);
        return [[bhs, Buffer.alloc(0)]];
      },
    );
    const device = await connectDevice(await server.start());
    expect(proofs).toBe(1);
    await device.close();
    await server.stop();
  });

  test('is left out where the target knows hosts by their names', async () => {
    const { port } = await start({ authentication: 'initiator-name' });
    await (await connectDevice(port, {}, { auth_method: undefined })).close();
    const stranger = connectDevice(port, { initiatorName: 'iqn.2026-11.test:stranger' }, { auth_method: undefined });
    await expect(stranger).rejects.toMatchObject({ code: 'not-permitted' });
  });

  test('keeps its secrets out of the log and the errors', async () => {
    const lines: string[] = [];
    const note = (fields: object, message: string) => void lines.push(JSON.stringify(fields) + message);
    const log = { debug: note, info: note, warn: note, error: note };
    const { port } = await start();
    const wrong = 'a wrong secret of all';
    const failure = await connectDevice(port, { log }, { auth_password: wrong }).catch(String);
    await (await connectDevice(port, { log })).close();
    expect(failure).not.toContain(wrong);
    expect(lines.join('\n')).not.toMatch(/secret of/);
  });
});

describe('a login', () => {
  test('says what is wrong when the target or the portal is not there', async () => {
    const { port } = await start();
    await expect(connectDevice(port, {}, { target_iqn: iqn('nobody') })).rejects.toMatchObject({ code: 'transport-failed' });
    await expect(connectDevice(await freePort())).rejects.toMatchObject({ code: 'transport-failed' });
  });

  test('goes where it is sent, and not round in circles', async () => {
    const [first, second] = [await start(), await start()];
    await first.service.redirect({ address: `127.0.0.1:${second.port}` });
    const device = await connectDevice(first.port);
    await device.write(Buffer.alloc(512, 7), 0);
    expect(second.device.content[0]).toBe(7);
    await device.close();
    await second.service.redirect({ address: `127.0.0.1:${first.port}` });
    await expect(connectDevice(first.port)).rejects.toMatchObject({ code: 'transport-failed' });
  });

  test('moves to another portal when the target asks for it', async () => {
    const [first, second] = [await start(), await start()];
    const device = await connectDevice(first.port);
    await first.service.redirect({ address: `127.0.0.1:${second.port}` });
    const moved = async () => (await second.service.list())[0]?.sessions.length === 1;
    await eventually(moved, 'the session at the other portal');
    await device.write(Buffer.alloc(512, 9), 0);
    expect(second.device.content[0]).toBe(9);
    await device.close();
  });

  test('that is aborted ends at once', async () => {
    const { port } = await start();
    const controller = new AbortController();
    const call = { ...plainCall, signal: controller.signal };
    const connecting = makeInitiator().connect(infoOf(port), { readOnly: false }, call);
    controller.abort(new Error('enough'));
    await expect(connecting).rejects.toThrow('enough');
    await expect(makeInitiator().connect(infoOf(port), { readOnly: false }, call)).rejects.toThrow('enough');
  });
});

describe('discovery', () => {
  const credentials = { own: { name: accessId, secret } };

  test('tells the targets of whoever proves a secret', async () => {
    const { port } = await start();
    const portal = { host: '127.0.0.1', port };
    const found = await discover(portal, { ...surroundings, credentials });
    expect(found).toEqual([{ name: iqn(), addresses: [{ portal, portalGroupTag: 1 }] }]);
  });

  test('is refused with a wrong secret, and fails where nobody answers', async () => {
    const { port } = await start();
    const wrong = { own: { name: accessId, secret: 'not the secret of it' } };
    const refused = discover({ host: '127.0.0.1', port }, { ...surroundings, credentials: wrong });
    await expect(refused).rejects.toMatchObject({ code: 'not-permitted' });
    const nobody = discover({ host: '127.0.0.1', port: await freePort() }, surroundings);
    await expect(nobody).rejects.toMatchObject({ code: 'transport-failed' });
  });
});
