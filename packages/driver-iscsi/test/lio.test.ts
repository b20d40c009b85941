import { rm, truncate } from 'node:fs/promises';
import { fileVolumes, RecordingLog, transportConformance, type TestVolumes } from '@scoria/conformance';
import { noExec, systemClock, systemRandom, type Exec, type ExportRequest, type PluginCall } from '@scoria/core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { lioConfiguration } from '../src/lio/configuration.ts';
import { LioTransport } from '../src/lio/lio-transport.ts';
import { FakeLio } from './fake-lio.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const MiB = 1024 * 1024;

function transportOn(tree: FakeLio, config: unknown = {}, exec: Exec = noExec): LioTransport {
  return new LioTransport({ config: lioConfiguration.parse(config), tree, clock: systemClock, log: new RecordingLog(), exec });
}

let conforming: FakeLio;
transportConformance({
  describe,
  test,
  create: async () => {
    const log = new RecordingLog();
    const tree = (conforming = new FakeLio());
    const make = () => new LioTransport({ config: lioConfiguration.parse({}), tree, clock: systemClock, log, exec: noExec });
    return { transport: make(), restart: async () => make(), volumes: await fileVolumes(), log, cleanup: async () => {} };
  },
  damage: ({ data }) => conforming.write(`iscsi/${data['target_iqn']}/tpgt_1/enable`, '0'),
});

let volumes: TestVolumes;
beforeEach(async () => {
  volumes = await fileVolumes();
});
afterEach(() => volumes.remove());

async function requestOf(more: Partial<ExportRequest> = {}): Promise<ExportRequest> {
  return {
    accessId: systemRandom.uuid(),
    volumeId: systemRandom.uuid(),
    device: more.device ?? (await volumes.create(MiB)),
    readOnly: false,
    secret: 'a-secret-of-16-b',
    ...more,
  };
}

/** A started transport on a tree, and what the tree looks like without exports. */
async function started(config: unknown = {}) {
  const tree = new FakeLio();
  const transport = transportOn(tree, config);
  await transport.start(call);
  return { tree, transport };
}

test('an access is a target with one portal group that wants the secret of the access', async () => {
  const { tree, transport } = await started();
  const request = { ...(await requestOf()), accessId: '0b9b3539-df0d-4586-b4ab-e9568d667b0e' };
  await transport.export(request, call);
  const target = `iscsi/iqn.2026-11.org.scoria:${request.accessId}/tpgt_1`;
  expect(tree.attributes.get(`${target}/enable`)).toBe('1');
  expect(tree.attributes.get(`${target}/attrib/authentication`)).toBe('1');
  const { auth_username: user } = transport.connectionInfo(request).data;
  expect(tree.attributes.get(`${target}/auth/userid`)).toBe(user);
  // LIO would take it for base64.
  expect(user).not.toMatch(/^0[bx]/i);
  expect(tree.attributes.get(`${target}/auth/password`)).toBe(request.secret);
  expect(tree.attributes.get(`${target}/attrib/demo_mode_write_protect`)).toBe('0');
  expect(tree.value('vpd_unit_serial')).toBe(request.volumeId);
  expect(tree.value('control')).toBe(`fd_dev_name=${request.device.path},fd_dev_size=${MiB}`);
  expect(tree.value('emulate_3pc')).toBe('0');
});

test('all accesses of a volume share one backstore, which the last one frees', async () => {
  const { tree, transport } = await started();
  const first = await requestOf();
  const second = { ...first, accessId: systemRandom.uuid(), readOnly: true };
  await transport.export(first, call);
  await transport.export(second, call);
  expect(new Set(tree.links.values()).size).toBe(1);
  expect(tree.attributes.get(`iscsi/iqn.2026-11.org.scoria:${second.accessId}/tpgt_1/attrib/demo_mode_write_protect`)).toBe('1');
  await transport.unexport(first.accessId, call);
  expect(tree.value('vpd_unit_serial')).toBe(first.volumeId);
  await transport.unexport(second.accessId, call);
  expect(tree.value('vpd_unit_serial')).toBeUndefined();
});

test('an access that is asked for with other rights is made anew', async () => {
  const { tree, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  await transport.export({ ...request, readOnly: true }, call);
  expect(await transport.list(call)).toMatchObject([{ accessId: request.accessId, readOnly: true }]);
  expect(tree.value('tpgt_1/attrib/demo_mode_write_protect')).toBe('1');
  expect(tree.links.size).toBe(1);
});

test('an access whose volume lies on another device is made anew', async () => {
  const { tree, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  const moved = await requestOf({ ...request, device: await volumes.create(MiB) });
  await transport.export(moved, call);
  expect(tree.value('udev_path')).toBe(moved.device.path);
  expect(await transport.list(call)).toHaveLength(1);
});

test('a volume is not exported through two devices', async () => {
  const { tree, transport } = await started();
  const first = await requestOf();
  await transport.export(first, call);
  const other = await requestOf({ volumeId: first.volumeId });
  await expect(transport.export(other, call)).rejects.toMatchObject({ code: 'transport-failed' });
  expect((await transport.list(call)).map(({ accessId }) => accessId)).toEqual([first.accessId]);
  expect(tree.value('udev_path')).toBe(first.device.path);
});

test('an access that is bound to an initiator lets only that name in', async () => {
  const { tree, transport } = await started({ bindInitiator: true });
  const initiator = 'iqn.1993-08.org.debian:01:abc';
  const request = await requestOf({ initiator, readOnly: true });
  await transport.export(request, call);
  const group = `iscsi/iqn.2026-11.org.scoria:${request.accessId}/tpgt_1`;
  expect(tree.attributes.get(`${group}/attrib/generate_node_acls`)).toBe('0');
  expect(tree.attributes.get(`${group}/acls/${initiator}/auth/password`)).toBe(request.secret);
  expect(tree.attributes.get(`${group}/acls/${initiator}/lun_0/write_protect`)).toBe('1');
  tree.attributes.set(`${group}/acls/${initiator}/info`, `InitiatorName: ${initiator}\nInitiatorAlias: host`);
  const before = [tree.shape, new Map(tree.attributes)];
  await transport.export(request, call);
  expect([tree.shape, tree.attributes], 'a repeat leaves the session alone').toEqual(before);
  expect(await transport.list(call)).toEqual([
    { accessId: request.accessId, volumeId: request.volumeId, readOnly: true, complete: true, sessions: [initiator] },
  ]);
  await transport.unexport(request.accessId, call);
  expect(await transport.list(call)).toEqual([]);
});

test.each(['../../../core', 'iqn.2026-11.org/../../x', 'host', ''])(
  '%j is no initiator to bind an access to',
  async (initiator) => {
    const { tree, transport } = await started({ bindInitiator: true });
    const before = tree.shape;
    await expect(transport.export(await requestOf({ initiator }), call)).rejects.toMatchObject({ code: 'invalid-input' });
    expect(tree.shape.filter((path) => !before.includes(path))).toEqual([expect.stringMatching(/^core\/fileio_\d+$/)]);
  },
);

test('sessions are told by the names of their initiators', async () => {
  const { tree, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  tree.attributes.set(`iscsi/iqn.2026-11.org.scoria:${request.accessId}/tpgt_1/dynamic_sessions`, 'iqn.a:1\niqn.b:2\n');
  expect((await transport.list(call))[0]?.sessions).toEqual(['iqn.a:1', 'iqn.b:2']);
});

test('a login that was about to succeed when its access ended is no session afterwards', async () => {
  const { tree, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  tree.late = ['iqn.late:1'];
  await transport.unexport(request.accessId, call);
  expect(await transport.list(call)).toEqual([]);
  expect(await tree.list('iscsi')).toEqual([]);
});

test('a target stays until the kernel is done with the last session of it, also with one that it lists no more', async () => {
  const { tree, transport } = await started();
  const { accessId, ...request } = await requestOf();
  await transport.export({ accessId, ...request }, call);
  const target = `iqn.2026-11.org.scoria:${accessId}`;
  const count = `iscsi/${target}/fabric_statistics/iscsi_instance/sessions`;
  tree.attributes.set(count, '1');
  let ended = false;
  const ending = transport.unexport(accessId, call).then(() => (ended = true));
  // Its unit goes at once, so that nothing is written any more.
  await vi.waitUntil(() => !tree.shape.some((path) => path.includes(`${target}/tpgt_1/lun/lun_0`)), 5_000);
  expect([ended, await tree.list('iscsi')]).toEqual([false, [target]]);
  tree.attributes.set(count, '0');
  await ending;
  expect(await tree.list('iscsi')).toEqual([]);
});

test('one device that hangs holds up the end of its own access only', async () => {
  const { tree, transport } = await started();
  const requests = await Promise.all(Array.from({ length: 6 }, () => requestOf()));
  for (const request of requests) await transport.export(request, call);
  const [stuck, ...others] = requests;
  const { promise, resolve } = Promise.withResolvers<void>();
  tree.holds.set(new RegExp(`${stuck?.accessId}/tpgt_1/enable$`), promise);
  const ending = transport.unexport(stuck?.accessId ?? '', call);
  for (const { accessId } of others) await transport.unexport(accessId, call);
  expect((await transport.list(call)).map(({ accessId }) => accessId)).toEqual([stuck?.accessId]);
  resolve();
  await ending;
  expect(await transport.list(call)).toEqual([]);
});

test('the end of an access that was given up while it waited does not come later', async () => {
  const { tree, transport } = await started();
  const requests = await Promise.all(Array.from({ length: 3 }, () => requestOf()));
  for (const request of requests) await transport.export(request, call);
  const { promise, resolve } = Promise.withResolvers<void>();
  const last = requests.at(-1)?.accessId ?? '';
  for (const { accessId } of requests.slice(0, -1)) tree.holds.set(new RegExp(`${accessId}/tpgt_1/enable$`), promise);
  const stuck = requests.slice(0, -1).map(({ accessId }) => transport.unexport(accessId, call));
  const controller = new AbortController();
  const waiting = expect(transport.unexport(last, { ...call, signal: controller.signal })).rejects.toThrow('given up');
  controller.abort(new Error('given up'));
  resolve();
  await Promise.all([...stuck, waiting]);
  expect((await transport.list(call)).map(({ accessId }) => accessId)).toEqual([last]);
});

test('all portals are listened on', async () => {
  const listen = ['192.0.2.1:3260', '[2001:db8::1]:3260'];
  const { tree, transport } = await started({ listen });
  const request = await requestOf();
  await transport.export(request, call);
  expect(await tree.list(`iscsi/iqn.2026-11.org.scoria:${request.accessId}/tpgt_1/np`)).toEqual(listen);
  expect(transport.connectionInfo(request).data).toMatchObject({ target_portals: listen, target_luns: [0, 0] });
});

test('an export that is found gets the portals of the configuration, without the end of its sessions', async () => {
  const { tree, transport } = await started({ listen: ['192.0.2.1:3260', '192.0.2.2:3260'] });
  const request = await requestOf();
  await transport.export(request, call);
  const group = `iscsi/iqn.2026-11.org.scoria:${request.accessId}/tpgt_1`;
  tree.attributes.set(`${group}/dynamic_sessions`, 'iqn.a:1\n');
  const next = transportOn(tree, { listen: ['192.0.2.2:3260', '192.0.2.3:3260'] });
  await next.start(call);
  expect(await next.list(call)).toMatchObject([{ complete: false, sessions: ['iqn.a:1'] }]);
  tree.taken.add('192.0.2.3:3260');
  await expect(next.export(request, call)).rejects.toMatchObject({ code: 'address-in-use' });
  tree.taken.clear();
  await next.export(request, call);
  expect(await tree.list(`${group}/np`)).toEqual(['192.0.2.2:3260', '192.0.2.3:3260']);
  expect(await next.list(call)).toMatchObject([{ complete: true, sessions: ['iqn.a:1'] }]);
});

test('an address that another program has is told, and the export leaves nothing', async () => {
  const { tree, transport } = await started();
  tree.taken.add('127.0.0.1:3260');
  await expect(transport.export(await requestOf(), call)).rejects.toMatchObject({ code: 'address-in-use' });
  expect(await transport.list(call)).toEqual([]);
  expect(await tree.list('iscsi')).toEqual([]);
});

test('a secret that the kernel takes for none is refused before it hears of it', async () => {
  const { tree, transport } = await started();
  const before = tree.changes;
  const secret = 'NULL-of-16-bytes';
  const error: unknown = await transport.export(await requestOf({ secret }), call).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'not-supported' });
  expect(JSON.stringify(error) + String(error)).not.toContain(secret);
  expect(tree.changes).toBe(before);
});

test('an error does not tell the secret that the kernel refused', async () => {
  const { tree, transport } = await started();
  tree.refuses.set(/password$/, 'EINVAL');
  const request = await requestOf();
  const error: unknown = await transport.export(request, call).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'transport-failed' });
  expect(JSON.stringify(error) + String(error)).not.toContain(request.secret);
});

test('a device that cannot discard is exported without UNMAP', async () => {
  const { tree, transport } = await started();
  tree.refuses.set(/emulate_tpu$/, 'ENOSYS');
  await transport.export(await requestOf(), call);
  expect(tree.value('emulate_tpws')).toBe('');
  expect(tree.value('tpgt_1/enable')).toBe('1');
});

test('a device that something else uses is told', async () => {
  const { tree, transport } = await started();
  tree.refuses.set(/^core\/.*\/enable$/, 'EBUSY');
  await expect(transport.export(await requestOf(), call)).rejects.toMatchObject({ code: 'backend-busy' });
  expect(await tree.list('iscsi')).toEqual([]);
});

test('the kernel is told the new size of a file', async () => {
  const { tree, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  await truncate(request.device.path, 3 * MiB + 100);
  await transport.resize(request.volumeId, call);
  expect(tree.value('control')).toBe(`fd_dev_size=${3 * MiB}`);
  await rm(request.device.path);
  await expect(transport.resize(request.volumeId, call)).rejects.toMatchObject({ code: 'device-gone' });
});

test("what is not this transport's stays as it is", async () => {
  const tree = new FakeLio();
  await tree.make('iscsi');
  for (const name of ['iscsi/iqn.2003-01.org.linux-iscsi:x', 'iscsi/iqn.2026-11.org.scoria:by-hand', 'core/fileio_0']) {
    await tree.make(name);
  }
  await tree.make('core/fileio_0/disk');
  await tree.make('iscsi/iqn.2003-01.org.linux-iscsi:x/tpgt_1');
  const other = transportOn(tree, { iqnPrefix: 'iqn.2026-11.org.example' });
  await other.start(call);
  const request = await requestOf();
  await other.export(request, call);
  const before = tree.shape;

  const transport = transportOn(tree);
  await transport.start(call);
  await transport.export(request, call);
  expect(await transport.list(call)).toHaveLength(1);
  await transport.stop();
  expect(tree.shape).toEqual(before);
});

test('a target that cannot be removed does not keep the transport from starting', async () => {
  const tree = new FakeLio();
  const target = `iscsi/iqn.2026-11.org.scoria:${systemRandom.uuid()}`;
  for (const path of ['iscsi', target, `${target}/tpgt_2`]) await tree.make(path);
  const transport = transportOn(tree);
  await transport.start(call);
  await transport.export(await requestOf(), call);
  expect(await transport.list(call)).toHaveLength(1);
});

test('exports survive the process and are found by the next', async () => {
  const { tree, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  const before = tree.shape;
  const next = transportOn(tree);
  await next.start(call);
  expect(await next.list(call)).toHaveLength(1);
  await next.export(request, call);
  expect(tree.shape).toEqual(before);
});

test('counters are told by volume', async () => {
  const { tree, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  for (const [name, value] of Object.entries({ num_cmds: '50', read_mbytes: '3', write_mbytes: '1' })) {
    const path = [...tree.attributes.keys()].find((key) => key.endsWith(`scsi_lu/${name}`));
    tree.attributes.set(path ?? '', value);
  }
  expect(await transport.stats(call)).toEqual([
    { volumeId: request.volumeId, readBytes: 3 * MiB, writtenBytes: MiB, reads: 37, writes: 13 },
  ]);
});

describe('a process that is killed', () => {
  /** Kills a verb before each of its changes in turn, and hands what is left to `check`. */
  async function killedAnywhere(
    prepare: (transport: LioTransport, request: ExportRequest) => Promise<void>,
    verb: (transport: LioTransport, request: ExportRequest) => Promise<void>,
    check: (next: LioTransport, request: ExportRequest, tree: FakeLio) => Promise<void>,
    config: unknown = {},
  ): Promise<void> {
    for (let step = 1, killed = true; killed; step++) {
      const { tree, transport } = await started(config);
      const request = await requestOf({ initiator: 'iqn.1993-08.org.debian:01:abc' });
      await prepare(transport, request);
      tree.dieAt = tree.changes + step;
      killed = await verb(transport, request).then(
        () => false,
        () => true,
      );
      tree.dieAt = Infinity;
      await check(transportOn(tree, config), request, tree);
      expect(step).toBeLessThan(100);
    }
  }
  const nothing = async (): Promise<void> => {};
  const publish = (transport: LioTransport, request: ExportRequest): Promise<void> => transport.export(request, call);
  const end = (transport: LioTransport, { accessId }: ExportRequest): Promise<void> => transport.unexport(accessId, call);
  /** A target is complete while it is open and has its unit. */
  const expectTold = async (next: LioTransport, tree: FakeLio): Promise<void> => {
    const isOpen = tree.value('tpgt_1/enable') === '1' && [...tree.links.keys()].some((path) => path.includes('/lun/lun_0/'));
    for (const { complete } of await next.list(call)) expect(complete).toBe(isOpen);
  };
  const expectNothing = async (tree: FakeLio): Promise<void> => {
    expect(await tree.list('iscsi')).toEqual([]);
    expect(tree.shape.filter((path) => path.includes('scoria-'))).toEqual([]);
  };

  for (const bindInitiator of [false, true]) {
    const config = { bindInitiator };
    const bound = bindInitiator ? 'bound ' : '';
    test(`at any step of a ${bound}export leaves what the same export completes`, async () => {
      await killedAnywhere(
        nothing,
        publish,
        async (next, request, tree) => {
          await expectTold(next, tree);
          await next.export(request, call);
          const { accessId, volumeId } = request;
          expect(await next.list(call)).toMatchObject([{ accessId, volumeId, complete: true }]);
          expect(tree.value('tpgt_1/enable')).toBe('1');
          await next.unexport(request.accessId, call);
          await expectNothing(tree);
        },
        config,
      );
    });

    test(`at any step of a ${bound}export leaves what unexport removes, also without a start`, async () => {
      await killedAnywhere(
        nothing,
        publish,
        async (next, request, tree) => {
          await next.unexport(request.accessId, call);
          await expectNothing(tree);
        },
        config,
      );
    });

    test(`at any step of a ${bound}unexport leaves what the same unexport removes`, async () => {
      await killedAnywhere(
        publish,
        end,
        async (next, request, tree) => {
          await next.unexport(request.accessId, call);
          await expectNothing(tree);
        },
        config,
      );
    });

    test(`at any step of a ${bound}unexport is told by the next process, or leaves nothing`, async () => {
      await killedAnywhere(
        publish,
        end,
        async (next, request, tree) => {
          await expectTold(next, tree);
          await next.start(call);
          if ((await next.list(call)).length === 0) return expectNothing(tree);
          await next.export(request, call);
          expect(tree.value('tpgt_1/enable')).toBe('1');
          expect(await next.list(call)).toMatchObject([{ accessId: request.accessId, readOnly: false }]);
        },
        config,
      );
    });
  }
});

describe('a kernel without LIO', () => {
  const commands: string[][] = [];
  const execThat = (load: () => void): Exec => ({
    ...noExec,
    run: async ({ program, args }) => {
      commands.push([program, ...args]);
      load();
      return { exitCode: 0, stdout: '', stderr: '' };
    },
  });

  test('gets its modules loaded at the start', async () => {
    const tree = new FakeLio();
    tree.folders.clear();
    const exec = execThat(() => ['', 'core'].forEach((path) => tree.folders.add(path)));
    await transportOn(tree, {}, exec).start(call);
    expect(commands.splice(0)).toEqual([['modprobe', '--all', 'target_core_mod', 'iscsi_target_mod']]);
  });

  test('is told, with what to do', async () => {
    const tree = new FakeLio();
    tree.folders.clear();
    await expect(
      transportOn(
        tree,
        {},
        execThat(() => {}),
      ).start(call),
    ).rejects.toMatchObject({
      code: 'transport-failed',
      remedy: expect.stringContaining('mount -t configfs'),
    });
  });
});

test.each([
  { listen: ['localhost:3260'] },
  { listen: ['127.0.0.1:0'] },
  { listen: ['0.0.0.0:3260'] },
  { queueDepth: 0 },
  { inProcess: true },
])('the configuration %j is refused', (config) => {
  expect(lioConfiguration.safeParse(config).success).toBe(false);
});
