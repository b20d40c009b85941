import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileVolumes, RecordingLog, transportConformance, type TestVolumes } from '@scoria/conformance';
import { noExec, ScoriaError, systemClock, systemRandom, type Exec, type ExportRequest, type PluginCall } from '@scoria/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { tgtConfiguration } from '../src/tgt/configuration.ts';
import { DeviceLimits } from '../src/tgt/device-limits.ts';
import { parseAccounts, parseConnections, parseCounters, parsePortals, parseTargets } from '../src/tgt/target-report.ts';
import { userOf } from '../src/tgt/targets.ts';
import { TgtTransport } from '../src/tgt/tgt-transport.ts';
import { FakeTgtd } from './fake-tgtd.ts';

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };

let volumes: TestVolumes;
let directory: string;
beforeEach(async () => {
  volumes = await fileVolumes();
  directory = await mkdtemp(join(tmpdir(), 'tgt-'));
});
afterEach(async () => {
  await volumes.remove();
  await rm(directory, { recursive: true, force: true });
});

/** Some block device of this machine; nothing is read from it. */
const blockDevice = await findBlockDevice();
async function findBlockDevice(): Promise<string | null> {
  for (const name of await readdir('/dev')) {
    const found = await stat(join('/dev', name)).catch(() => null);
    if (found?.isBlockDevice()) return join('/dev', name);
  }
  return null;
}

async function requestOf(more: Partial<ExportRequest> = {}): Promise<ExportRequest> {
  return {
    accessId: systemRandom.uuid(),
    volumeId: systemRandom.uuid(),
    device: more.device ?? (await volumes.create(1024 * 1024)),
    readOnly: false,
    secret: 'a-secret-of-16-b',
    ...more,
  };
}

const transportOn = (exec: Exec, config: unknown = {}): TgtTransport =>
  new TgtTransport({ config: tgtConfiguration.parse(config), clock: systemClock, log: new RecordingLog(), exec });

async function started(config: unknown = {}) {
  const tgtd = new FakeTgtd();
  const transport = transportOn(tgtd, config);
  await transport.start(call);
  return { tgtd, transport };
}

describe('what tgtadm prints', () => {
  const report = `Target 1301137771: iqn.2026-11.org.scoria:9db24c46-6627-4476-82b6-00c4fde84b63
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 3
            Initiator: iqn.1993-08.org.debian:01:abc alias: none
            Connection: 0
                IP Address: 127.0.0.1
    LUN information:
        LUN: 0
            Type: controller
            SCSI ID: IET     7fffffd00000
            SCSI SN: beaf21474836000
            Size: 0 MB, Block size: 1
            Online: Yes
            Readonly: No
            Backing store type: null
            Backing store path: None
            Backing store flags: 
        LUN: 1
            Type: disk
            SCSI SN: 873d1a99-1853-48b9-a269-d2bb375ec836
            Size: 67 MB, Block size: 4096
            Readonly: Yes
            Something new: 5
            Backing store path: /dev/vg/one
            Backing store flags: direct
    Account information:
        9db24c46-6627-4476-82b6-00c4fde84b63
    ACL information:
        ALL
        iqn.1993-08.org.debian:01:abc
Target 2: iqn.2003-01.org.example:foreign
    System information:
        Driver: iscsi
        State: offline
    I_T nexus information:
    LUN information:
    Account information:
    ACL information:
`;

  test('of targets is read', () => {
    const [own, foreign, ...more] = parseTargets(report);
    expect(own).toEqual({
      tid: 1_301_137_771,
      name: 'iqn.2026-11.org.scoria:9db24c46-6627-4476-82b6-00c4fde84b63',
      state: 'ready',
      sessions: ['iqn.1993-08.org.debian:01:abc'],
      units: [
        { lun: 0, serial: 'beaf21474836000', path: 'None', blockSize: 1, readOnly: false, direct: false },
        {
          lun: 1,
          serial: '873d1a99-1853-48b9-a269-d2bb375ec836',
          path: '/dev/vg/one',
          blockSize: 4096,
          readOnly: true,
          direct: true,
        },
      ],
      accounts: ['9db24c46-6627-4476-82b6-00c4fde84b63'],
      admitted: ['ALL', 'iqn.1993-08.org.debian:01:abc'],
    });
    expect(foreign).toMatchObject({ tid: 2, state: 'offline', units: [], accounts: [], admitted: [] });
    expect(more).toEqual([]);
    expect(parseTargets('')).toEqual([]);
  });

  test('of targets is refused where there is none', () => {
    const refused = expect.objectContaining({ code: 'transport-failed' });
    expect(() => parseTargets(report.replaceAll(/Target .*:/g, 'Ziel:'))).toThrow(refused);
  });

  test('of targets has what tgtd says, whatever an initiator calls itself', () => {
    const feigned = `iqn.x
    System information:
        State: offline
    LUN information:
        LUN: 1
            SCSI SN: 00000000-0000-4000-8000-000000000000
            Size: 1 MB, Block size: 512
            Readonly: No
            Backing store path: /dev/vg/other
            Backing store flags: 
    Account information:
        other
    ACL information:
        iqn.other
    I_T nexus information:
        I_T nexus: what
            Initiator: x`;
    const own = parseTargets(report.replace(/(?<=Initiator: ).*/, feigned))[0];
    const { sessions: _sessions, ...expected } = parseTargets(report)[0] ?? {};
    expect(own).toMatchObject(expected);
    expect(
      parseTargets(report.replace(/(?<=Initiator: ).*/, 'x\nTarget two: y\nTarget 3: z\n  LUN information:\n')),
    ).toMatchObject([{ tid: 1_301_137_771 }, { tid: 3 }, { tid: 2 }]);
  });

  test('of connections is read', () => {
    const text = `Session: 7
    Connection: 1
        Initiator: iqn.x
Session: 8
    Connection: none
        IP Address: 127.0.0.1
Session: 9
    Connection: 0
`;
    expect(parseConnections(text)).toEqual([
      { sid: 7, cid: 1 },
      { sid: 9, cid: 0 },
    ]);
  });

  test('of accounts is read', () => {
    expect(parseAccounts('Account list:\n    one\n    two (outgoing)\n')).toEqual(['one', 'two (outgoing)']);
    expect(parseAccounts('Account list:\n')).toEqual([]);
  });

  test('of portals is read', () => {
    expect(parsePortals('Portal: [::1]:3260,1\nPortal: 127.0.0.1:3260,1\n')).toEqual(['[::1]:3260', '127.0.0.1:3260']);
    expect(() => parsePortals('Portal: what\n')).toThrow(expect.objectContaining({ code: 'transport-failed' }));
  });

  test('of counters is read', () => {
    const text = `tgt lun sid rd_subm(bytes,cmds) rd_done(bytes,cmds) wr_subm(bytes,cmds) wr_done(bytes,cmds) errs
  7   1   2      1048576      4      1048000      3         8192      2         4096      1    0
`;
    expect(parseCounters(text)).toEqual([{ tid: 7, lun: 1, readBytes: 1_048_000, reads: 3, writtenBytes: 4096, writes: 1 }]);
    expect(() => parseCounters('7 1 2 3\n')).toThrow(expect.objectContaining({ code: 'transport-failed' }));
  });
});

let conforming: FakeTgtd;
transportConformance({
  describe,
  test,
  create: async () => {
    const log = new RecordingLog();
    const tgtd = (conforming = new FakeTgtd());
    const make = () => new TgtTransport({ config: tgtConfiguration.parse({}), clock: systemClock, log, exec: tgtd });
    return { transport: make(), restart: async () => make(), volumes: await fileVolumes(), log, cleanup: async () => {} };
  },
  damage: async ({ data }) => {
    for (const target of conforming.targets.values()) if (target.name === data['target_iqn']) target.admitted.clear();
  },
});

describe('an export', () => {
  test('is a target with a unit, an account and a rule, the rule last', async () => {
    const { tgtd, transport } = await started();
    const request = await requestOf({ readOnly: true });
    await transport.export(request, call);
    const [target] = tgtd.targets.values();
    expect(target).toMatchObject({
      name: `iqn.2026-11.org.scoria:${request.accessId}`,
      accounts: new Set([String(transport.connectionInfo(request).data['auth_username'])]),
      admitted: new Set(['ALL']),
    });
    expect(target?.units).toEqual([
      { lun: 1, path: request.device.path, blockSize: '512', direct: false, serial: request.volumeId, readOnly: true },
    ]);
    expect(tgtd.commands.at(-1)?.args).toContain('--initiator-address');
    expect(transport.connectionInfo(request).data).toMatchObject({ target_lun: 1 });
  });

  test('tells whoever runs programs which word is a secret', async () => {
    const { tgtd, transport } = await started();
    const request = await requestOf();
    await transport.export(request, call);
    for (const { args, secrets = [] } of tgtd.commands) {
      if (args.includes(request.secret)) expect(secrets).toContain(request.secret);
    }
    expect([...tgtd.accounts.values()]).toEqual([request.secret]);
    expect([...tgtd.accounts.keys()].join()).not.toContain(request.secret);
  });

  test('that is bound to an initiator admits no address', async () => {
    const { tgtd, transport } = await started({ bindInitiator: true });
    await transport.export(await requestOf({ initiator: 'iqn.1993-08.org.debian:01:abc' }), call);
    expect([...tgtd.targets.values()][0]?.admitted).toEqual(new Set(['iqn.1993-08.org.debian:01:abc']));
  });

  test.each([
    ['an initiator that is none', { initiator: 'host,ALL' }],
    ['a secret with a comma', { secret: 'a-secret,user=other' }],
    ['a path with a comma', { device: { kind: 'path', path: '/tmp/a,bstype=null', blockSize: 512 as const } }],
  ])('with %s is refused before tgtd hears of it', async (_, more) => {
    const { tgtd, transport } = await started({ bindInitiator: true });
    const before = tgtd.commands.length;
    await expect(transport.export(await requestOf(more), call)).rejects.toBeInstanceOf(ScoriaError);
    expect(tgtd.commands).toHaveLength(before);
  });

  test('finds another id where a foreign target has its own', async () => {
    const { tgtd, transport } = await started();
    const request = await requestOf();
    await transport.export(request, call);
    const [target] = tgtd.targets.values();
    await transport.unexport(request.accessId, call);
    if (target === undefined) throw new Error('there was no target');
    tgtd.targets.set(target.tid, { ...target, name: 'iqn.2003-01.org.example:foreign' });
    await transport.export(request, call);
    expect(await transport.list(call)).toHaveLength(1);
    await transport.stop();
    expect([...tgtd.targets.values()].map(({ name }) => name)).toEqual(['iqn.2003-01.org.example:foreign']);
  });
});

test('an access ends when tgtd has closed its sessions and its device', async () => {
  const { tgtd, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  tgtd.logIn(request.accessId, 'iqn.1993-08.org.debian:01:abc');
  expect((await transport.list(call))[0]?.sessions).toEqual(['iqn.1993-08.org.debian:01:abc']);
  tgtd.busy = 3;
  await transport.unexport(request.accessId, call);
  expect([tgtd.targets.size, tgtd.accounts.size]).toEqual([0, 0]);
  expect(tgtd.commands.some(({ args }) => args.includes('--force'))).toBe(false);
  const verbs = tgtd.commands.map(({ args }) => `${args[3]} ${args[5]}`);
  expect(verbs.lastIndexOf('target update')).toBeLessThan(verbs.lastIndexOf('conn delete'));
  expect(verbs.lastIndexOf('conn delete')).toBeLessThan(verbs.lastIndexOf('logicalunit delete'));
  expect(verbs.lastIndexOf('logicalunit delete')).toBeLessThan(verbs.lastIndexOf('target delete'));
});

test.each([
  ['has the name of another unit', `x\n    LUN information:\n        LUN: 1\n            Backing store path: /dev/vg/other\n`],
  ['is another target', (target: string) => `x\nTarget 1: ${target}\n    I_T nexus information:\n`],
  ['is as long as tgtd can tell', 'x'.repeat(1100)],
])('an initiator whose name %s gets nothing by it, and its access ends', async (_, name) => {
  const { tgtd, transport } = await started();
  const request = await requestOf({ readOnly: true });
  await transport.export(request, call);
  const [tid] = tgtd.targets.keys();
  tgtd.logIn(request.accessId, typeof name === 'string' ? name : name(`iqn.2026-11.org.scoria:${request.accessId}`));
  const { accessId, volumeId } = request;
  expect(await transport.list(call)).toMatchObject([{ accessId, volumeId, readOnly: true }]);
  await transport.resize(volumeId, call);
  expect(tgtd.targets.get(tid ?? 0)).toMatchObject({
    state: 'ready',
    units: [{ path: request.device.path, readOnly: true, serial: volumeId }],
  });
  tgtd.logIn(accessId, typeof name === 'string' ? name : name(`iqn.2026-11.org.scoria:${accessId}`));
  const before = tgtd.commands.length;
  await transport.unexport(accessId, call);
  expect([tgtd.targets.size, tgtd.accounts.size]).toEqual([0, 0]);
  const touched = tgtd.commands
    .slice(before)
    .flatMap(({ args }) => (args.includes('--tid') ? [args[args.indexOf('--tid') + 1]] : []));
  expect(new Set(touched)).toEqual(new Set([String(tid)]));
});

test('a feigned target of an access does not stand for the real one', async () => {
  const { tgtd, transport } = await started();
  const [other, request] = [await requestOf(), await requestOf()];
  await transport.export(other, call);
  await transport.export(request, call);
  const target = [...tgtd.targets.values()].at(-1);
  if (target === undefined) throw new Error('there was no target');
  // Another id that the access could have, and that there is no target of.
  const { tid } = target;
  await transport.unexport(request.accessId, call);
  tgtd.targets.set(tid, { ...target, name: 'iqn.2003-01.org.example:foreign' });
  await transport.export(request, call);
  tgtd.targets.delete(tid);
  tgtd.logIn(other.accessId, `x\nTarget ${tid}: iqn.2026-11.org.scoria:${request.accessId}\n`);
  await transport.unexport(request.accessId, call);
  expect([...tgtd.targets.values()].map(({ name }) => name)).toEqual([`iqn.2026-11.org.scoria:${other.accessId}`]);
});

test.each(['with a volume', 'without one'])(
  'a target that a host feigns %s does not lead to the one that has its id',
  async (how) => {
    const { tgtd, transport } = await started();
    const own = await requestOf();
    await transport.export(own, call);
    // With some patience a host finds an access whose target would have an id that it likes.
    const feigned = await requestOf();
    const elsewhere = await started();
    await elsewhere.transport.export(feigned, call);
    const [tid = 0] = elsewhere.tgtd.targets.keys();
    const [real] = tgtd.targets.values();
    if (real === undefined) throw new Error('there was no target');
    const name = 'iqn.2003-01.org.example:foreign';
    tgtd.targets.set(tid, { ...real, tid, name, sessions: [] });
    const target = `Target ${tid}: iqn.2026-11.org.scoria:${feigned.accessId}`;
    const unit = ['LUN: 1', `    SCSI SN: ${own.volumeId}`, '    Size: 1 MB, Block size: 512', '    Backing store flags: '];
    const lines =
      how === 'with a volume'
        ? // What follows in the report is that of the host's own target, its unit too.
          [target, '    System information:', '        Driver: x']
        : ['    LUN information:', ...[...unit, '    Backing store path: /x'].map((line) => `        ${line}`), target, 'x:'];
    tgtd.logIn(own.accessId, `x\n${lines.join('\n')}`);
    expect((await transport.list(call)).map(({ accessId }) => accessId)).toEqual([own.accessId]);
    await transportOn(tgtd).start(call);
    await transport.stop();
    expect([...tgtd.targets.values()].map((target) => target.name)).toEqual([name]);
    expect(tgtd.targets.get(tid)?.state).toBe('ready');
  },
);

test('a device that has grown is opened again, and initiators may come back', async () => {
  const { tgtd, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  tgtd.logIn(request.accessId, 'iqn.1993-08.org.debian:01:abc');
  await transport.resize(request.volumeId, call);
  const states = tgtd.commands.flatMap(({ args }) => (args.includes('--value') ? [args.at(-1)] : []));
  expect(states).toEqual(['offline', 'ready']);
  expect([...tgtd.targets.values()][0]?.units[0]?.serial).toBe(request.volumeId);
});

test('a unit for reading that cannot be described again is there for nobody', async () => {
  const { tgtd, transport } = await started();
  const request = await requestOf({ readOnly: true });
  await transport.export(request, call);
  tgtd.answers.set('logicalunit update', { exitCode: 22, stderr: 'tgtadm: out of memory\n' });
  await expect(transport.resize(request.volumeId, call)).rejects.toMatchObject({ code: 'transport-failed' });
  expect([...tgtd.targets.values()][0]?.state).toBe('offline');
  expect(await transport.list(call)).toEqual([]);
  tgtd.answers.clear();
  await transport.export(request, call);
  expect([...tgtd.targets.values()][0]).toMatchObject({ state: 'ready', units: [{ readOnly: true }] });
});

test('nobody is let in where the account is not there to ask for a secret', async () => {
  for (const answer of [
    { exitCode: 22, stderr: "tgtadm: can't find the account\n" },
    { exitCode: 0, stderr: 'tgtadm: tgtd closed the socket\n' },
  ]) {
    const { tgtd, transport } = await started();
    tgtd.answers.set('account bind', answer);
    await expect(transport.export(await requestOf(), call)).rejects.toMatchObject({ code: 'transport-failed' });
    expect(tgtd.commands.some(({ args }) => args.includes('ALL'))).toBe(false);
    expect(tgtd.targets.size).toBe(0);
  }
});

test('what tgtd refuses is told, without secrets', async () => {
  const { tgtd, transport } = await started();
  const request = await requestOf();
  tgtd.answers.set('logicalunit new', { exitCode: 22, stderr: 'tgtadm: invalid request\n' });
  await expect(transport.export(request, call)).rejects.toThrow(request.device.path);
  tgtd.answers.clear();
  tgtd.answers.set('account new', { exitCode: 22, stderr: 'tgtadm: too many accounts\n' });
  const error: unknown = await transport.export(request, call).catch((thrown: unknown) => thrown);
  expect(String(error)).toContain(request.accessId);
  expect(JSON.stringify(error) + String(error)).not.toContain(request.secret);
});

test('a tgtd that dies while it is asked has not told that there are no targets', async () => {
  const { tgtd, transport } = await started();
  const request = await requestOf();
  await transport.export(request, call);
  tgtd.answers.set('target show', { stderr: 'tgtadm: tgtd closed the socket\n' });
  await expect(transport.list(call)).rejects.toMatchObject({ code: 'transport-failed' });
  await expect(transport.unexport(request.accessId, call)).rejects.toMatchObject({ code: 'transport-failed' });
});

test.each([
  ['another device', async () => ({ device: await volumes.create(1024 * 1024) })],
  ['another initiator', async () => ({ initiator: 'iqn.1993-08.org.debian:01:other' })],
  ['another secret', async () => ({ secret: 'another-secret-16' })],
])('an access that is asked for with %s is made anew', async (_, changes) => {
  const { tgtd, transport } = await started({ bindInitiator: true });
  const request = await requestOf({ initiator: 'iqn.1993-08.org.debian:01:abc' });
  await transport.export(request, call);
  const other = { ...request, ...(await changes()) };
  await transport.export(other, call);
  expect([...tgtd.targets.values()]).toMatchObject([
    { units: [{ path: other.device.path }], admitted: new Set([other.initiator]), accounts: new Set([userOf(other)]) },
  ]);
});

test('accesses that are found at a start do not each want a report of all', async () => {
  const { tgtd, transport } = await started();
  const first = await requestOf();
  const requests = Array.from({ length: 50 }, () => ({ ...first, accessId: systemRandom.uuid() }));
  for (const request of requests) await transport.export(request, call);
  const next = transportOn(tgtd);
  await next.start(call);
  tgtd.commands.length = 0;
  await Promise.all(requests.map((request) => next.export(request, call)));
  expect(tgtd.commands.filter(({ args }) => args[3] === 'target' && args[5] === 'show').length).toBeLessThan(5);
  expect(tgtd.targets.size).toBe(50);
});

test('a tgtd that was started again gets its portals back with the next export', async () => {
  const { tgtd, transport } = await started({ listen: ['127.0.0.1:3260', '127.0.0.1:3261'] });
  tgtd.targets.clear();
  tgtd.portals.pop();
  await transport.export(await requestOf(), call);
  expect(tgtd.portals).toEqual(['127.0.0.1:3260', '127.0.0.1:3261']);
});

test('a half-made target that cannot be removed does not keep the transport from starting', async () => {
  const { tgtd, transport } = await started();
  const request = await requestOf();
  tgtd.dieAt = tgtd.commands.length + 2;
  await expect(transport.export(request, call)).rejects.toThrow();
  tgtd.dieAt = Infinity;
  expect(tgtd.targets.size).toBe(1);
  tgtd.answers.set('target delete', { exitCode: 22, stderr: 'tgtadm: unknown error\n' });
  await transportOn(tgtd).start(call);
});

test('portals that tgtd lacks are added, and taken away again', async () => {
  const { tgtd, transport } = await started({ listen: ['127.0.0.1:3260', '[::1]:3260'] });
  expect(tgtd.portals).toEqual(['127.0.0.1:3260', '[::1]:3260']);
  await transport.stop();
  expect(tgtd.portals).toEqual(['127.0.0.1:3260']);
  tgtd.portals[0] = '0.0.0.0:3260';
  const other = transportOn(tgtd);
  await other.start(call);
  expect(tgtd.portals).toEqual(['0.0.0.0:3260']);
});

test('a tgtd that does not run is told', async () => {
  const exec: Exec = {
    ...noExec,
    run: async () => {
      throw new ScoriaError('backend-failed', 'tgtadm ended with exit status 107');
    },
  };
  await expect(transportOn(exec).start(call)).rejects.toMatchObject({
    code: 'transport-failed',
    remedy: expect.stringContaining('tgtd'),
  });
});

describe('a process that is killed', () => {
  const nothing = async (): Promise<void> => {};
  const publish = (transport: TgtTransport, request: ExportRequest): Promise<void> => transport.export(request, call);
  const end = (transport: TgtTransport, { accessId }: ExportRequest): Promise<void> => transport.unexport(accessId, call);
  const resize = (transport: TgtTransport, { volumeId }: ExportRequest): Promise<void> => transport.resize(volumeId, call);

  const verbs = [
    ['an export', nothing, publish],
    ['an unexport', publish, end],
    ['a resize', publish, resize],
  ] as const;
  test.each(
    verbs.flatMap(([name, ...verb]) => [[name, 'with a start', ...verb] as const, [name, 'without one', ...verb] as const]),
  )('at any command of %s leaves what the next finishes and removes, %s', async (_, starting, prepare, verb) => {
    for (let step = 1, killed = true; killed; step++) {
      const { tgtd, transport } = await started();
      const request = await requestOf();
      await prepare(transport, request);
      tgtd.dieAt = tgtd.commands.length + step;
      killed = await verb(transport, request).then(
        () => false,
        () => true,
      );
      tgtd.dieAt = Infinity;
      const next = transportOn(tgtd);
      const isOpen = Array.from(tgtd.targets.values(), ({ state, admitted, units }) => {
        return state === 'ready' && admitted.size > 0 && units.some(({ serial }) => serial === request.volumeId);
      });
      for (const { complete } of await next.list(call)) expect([complete]).toEqual(isOpen);
      if (starting === 'with a start') await next.start(call);
      await next.export(request, call);
      const { accessId, volumeId } = request;
      expect(await next.list(call)).toMatchObject([{ accessId, volumeId, complete: true }]);
      expect([...tgtd.targets.values()][0]).toMatchObject({ state: 'ready', admitted: new Set(['ALL']) });
      await next.unexport(request.accessId, call);
      expect([tgtd.targets.size, tgtd.accounts.size]).toEqual([0, 0]);
      expect(step).toBeLessThan(100);
    }
  });
});

describe('limits', () => {
  const rate = (perSecond: number) => ({ perSecond, burst: perSecond });
  const told = () => readFile(join(directory, 'io.max'), 'ascii');
  beforeEach(() => writeFile(join(directory, 'io.max'), ''));

  test('are not there without the control group of tgtd', async () => {
    expect(transportOn(noExec).limit).toBeUndefined();
    expect(transportOn(noExec, { cgroup: directory }).limit).toBeDefined();
  });

  test.each([
    ['a file', { readOperations: rate(100) }],
    ['a total', { totalBytes: rate(1_000) }],
    ['a size of operations', { operationSize: 4096 }],
  ])('of %s are refused, and the volume is not published', async (_, limits) => {
    const { tgtd, transport } = await started({ cgroup: directory });
    const before = tgtd.commands.length;
    await expect(transport.export(await requestOf({ limits }), call)).rejects.toMatchObject({ code: 'not-supported' });
    expect(tgtd.commands).toHaveLength(before);
    expect(await told()).toBe('');
  });

  describe.skipIf(blockDevice === null)('of a block device', () => {
    const onDevice = { device: { kind: 'path', path: blockDevice ?? '', blockSize: 512 as const } };

    test('are an error where the control group is not there', async () => {
      const limits = new DeviceLimits(join(directory, 'missing'));
      const held = await limits.checked('volume', onDevice.device, null);
      await expect(limits.hold('access', held)).rejects.toMatchObject({ code: 'transport-failed' });
    });

    test('are written with its number, and never above what is asked for', async () => {
      const { transport } = await started({ cgroup: directory });
      await transport.export(
        await requestOf({ ...onDevice, limits: { readOperations: rate(100.7), writeBytes: rate(1_048_576) } }),
        call,
      );
      expect(await told()).toMatch(/^\d+:\d+ rbps=max wbps=1048576 riops=100 wiops=max\n$/);
    });

    test.each([
      ['other', rate(300), 'riops=300'],
      ['no', undefined, 'riops=max'],
    ])('change when a published access is asked for again with %s limits', async (_, readOperations, expected) => {
      const { tgtd, transport } = await started({ cgroup: directory });
      const request = await requestOf({ ...onDevice, limits: { readOperations: rate(100) } });
      await transport.export(request, call);
      await transport.export({ ...request, limits: readOperations && { readOperations } }, call);
      expect(await told()).toContain(expected);
      expect(tgtd.targets.size).toBe(1);
    });

    test('are set again for an access that an earlier process has published', async () => {
      const { tgtd, transport } = await started({ cgroup: directory });
      const request = await requestOf({ ...onDevice, limits: { readOperations: rate(100) } });
      await transport.export(request, call);
      await writeFile(join(directory, 'io.max'), '');
      const next = transportOn(tgtd, { cgroup: directory });
      await next.start(call);
      await next.export(request, call);
      expect(await told()).toContain('riops=100');
    });

    test('go with the last access of the device, and no earlier', async () => {
      const { transport } = await started({ cgroup: directory });
      const first = await requestOf({ ...onDevice, limits: { readOperations: rate(100) } });
      const second = { ...first, accessId: systemRandom.uuid() };
      for (const request of [first, second]) await transport.export(request, call);
      const before = await told();
      await transport.unexport(first.accessId, call);
      expect(await told()).toBe(before);
      await transport.unexport(second.accessId, call);
      expect(await told()).toMatch(/^\d+:\d+ rbps=max wbps=max riops=max wiops=max\n$/);
    });

    test('that cannot be lifted do not hold up the end of an access', async () => {
      const { tgtd, transport } = await started({ cgroup: directory });
      const request = await requestOf({ ...onDevice, limits: { readOperations: rate(100) } });
      await transport.export(request, call);
      await rm(join(directory, 'io.max'));
      await transport.unexport(request.accessId, call);
      expect(tgtd.targets.size).toBe(0);
    });

    test('that are set already are not written again, since the kernel would allow a new burst', async () => {
      const { transport } = await started({ cgroup: directory });
      const limits = { readOperations: rate(100) };
      const request = await requestOf({ ...onDevice, limits });
      await transport.export(request, call);
      const own = await told();
      const others = `259:9999 rbps=max wbps=5000 riops=max wiops=max\n${own}`;
      await writeFile(join(directory, 'io.max'), others);
      await transport.export(request, call);
      await transport.limit?.(request.volumeId, limits, call);
      expect(await told()).toBe(others);
      await transport.limit?.(request.volumeId, null, call);
      expect(await told()).not.toBe(others);
      await writeFile(join(directory, 'io.max'), '');
      await transport.limit?.(request.volumeId, null, call);
      expect(await told()).toBe('');
    });

    test.each(['readOperations', 'writeOperations', 'readBytes', 'writeBytes'] as const)(
      'that are lower for %s than the kernel takes are refused before anything changes',
      async (quantity) => {
        const { tgtd, transport } = await started({ cgroup: directory });
        const request = await requestOf({ ...onDevice, limits: { [quantity]: rate(2) } });
        await transport.export(request, call);
        const [before, commands] = [await told(), tgtd.commands.length];
        expect(before).toMatch(/=2\b/);
        const refused = { code: 'not-supported', message: expect.stringContaining(quantity) };
        const limits = { [quantity]: rate(1.9) };
        await expect(transport.limit?.(request.volumeId, limits, call)).rejects.toMatchObject(refused);
        for (const changed of [request, await requestOf(onDevice), { ...request, readOnly: true }]) {
          await expect(transport.export({ ...changed, limits }, call)).rejects.toMatchObject(refused);
        }
        expect(await told()).toBe(before);
        expect(tgtd.commands).toHaveLength(commands);
      },
    );
  });
});
