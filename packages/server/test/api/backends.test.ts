import { definePlugin, type Plugin, ScoriaError, systemRandom } from '@scoria/core';
import { MemoryBackend, memoryDriver } from '@scoria/driver-memory';
import { z } from 'zod';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ListedExports, TestService } from '../service.ts';

/** Stands for storage that cannot be used: it never gets further than its first check. */
const damaged = definePlugin({
  name: 'damaged',
  kind: 'driver',
  api: '^1.0',
  config: z.strictObject({}),
  create: () => {
    const refuse = async (): Promise<never> => {
      throw new ScoriaError('backend-failed', 'Volume group slow lacks 1 of its physical volumes', {
        remedy: 'Bring the disk back.',
        cause: new Error('password=hidden'),
      });
    };
    const list = async function* (): AsyncGenerator<never> {
      yield await refuse();
    };
    return {
      check: refuse,
      pools: refuse,
      create: refuse,
      delete: refuse,
      extend: refuse,
      createSnapshot: refuse,
      deleteSnapshot: refuse,
      list,
      locate: refuse,
    };
  },
});

class LimitingExports extends ListedExports {
  async limit() {}
}
const limiting = definePlugin({
  name: 'limiting',
  kind: 'transport',
  api: '^1.0',
  config: z.strictObject({}),
  create: () => new LimitingExports(),
});
const memory = memoryDriver({ backend: new MemoryBackend({ backendId: systemRandom.uuid() }) });

/** Storage with a second pool, which cannot be used. */
const partial: Plugin<'driver'> = {
  ...memory,
  create: (context) => {
    const driver = memory.create(context);
    const pools = driver.pools.bind(driver);
    const fault = new ScoriaError('backend-unavailable', 'Volume group lost is gone', { remedy: 'Find it.' });
    const lost = { name: 'lost', fault, total: 0, free: 0, thin: true, maxOverSubscription: 1, reserved: 0, capabilities: {} };
    driver.pools = async (call) => [...(await pools(call)), lost];
    return driver;
  },
};

let service: TestService;
beforeAll(async () => {
  service = await TestService.start({}, ['plain'], {
    backends: { fast: { plugin: partial, transport: 'limiting' }, slow: { plugin: damaged } },
    transports: { limiting: { plugin: limiting } },
  });
});
afterAll(() => service.stop());

test('administrators see each backend: what it has, or what is wrong with it and what to do', async () => {
  const disabling = { host: 'host@plain', binary: 'cinder-volume', disabled_reason: 'new disks' };
  await service.ask('PUT', '/os-services/disable-log-reason', { as: 'admin', body: disabling });
  await service.volume();
  const { status, body } = await service.ask('GET', '//scoria/v1/backends', { as: 'admin' });
  expect(status).toBe(200);
  const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/);
  const claimed = 2 ** 30;
  expect(body.backends).toMatchObject([
    {
      name: 'fast',
      host: 'host@fast',
      id: expect.any(String),
      availability_zone: 'nova',
      state: 'up',
      fault: null,
      since: time,
      reported_at: time,
      enabled: true,
      disabled_reason: null,
      driver_capabilities: expect.arrayContaining(['clone']),
      holds_limits: true,
      pools: [
        { name: 'pool', total: expect.any(Number), free: expect.any(Number), claimed, placements: 1, fault: null },
        {
          ...{ name: 'lost', total: null, free: null, claimed: 0, placements: 0 },
          fault: { code: 'backend-unavailable', message: 'Volume group lost is gone', remedy: 'Find it.', since: time },
        },
      ],
    },
    { name: 'plain', state: 'up', enabled: false, disabled_reason: 'new disks', holds_limits: false },
    {
      name: 'slow',
      host: 'host@slow',
      id: null,
      state: 'down',
      since: time,
      reported_at: time,
      driver_capabilities: [],
      holds_limits: false,
      pools: [],
    },
  ]);
  // The driver's words, and nothing besides them.
  expect(body.backends[2].fault).toEqual({
    code: 'backend-failed',
    message: 'Volume group slow lacks 1 of its physical volumes',
    remedy: 'Bring the disk back.',
  });
});

test('the services list has a backend that has never been in service', async () => {
  const { body } = await service.ask('GET', '/os-services?binary=cinder-volume', { as: 'admin' });
  const states = body.services.map(({ host, state, backend_state: backend }: Record<string, string>) => [host, state, backend]);
  expect(states).toEqual([
    ['host@fast', 'up', 'up'],
    ['host@plain', 'up', 'up'],
    ['host@slow', 'down', 'down'],
  ]);
});

test('pools tell whether volumes there are held to limits', async () => {
  const { body } = await service.ask('GET', '/scheduler-stats/get_pools?detail=true', { as: 'admin' });
  expect(body.pools).toMatchObject([
    { name: 'host@fast#pool', capabilities: { QoS_support: true } },
    { name: 'host@fast#lost', capabilities: { QoS_support: true } },
    { name: 'host@plain#pool', capabilities: { QoS_support: false } },
  ]);
});

test('a pool that cannot be used is listed as one without room', async () => {
  const { body } = await service.ask('GET', '/scheduler-stats/get_pools?detail=true', { as: 'admin' });
  const room = { total_capacity_gb: expect.toSatisfy((gb: number) => gb > 0), backend_state: 'up' };
  expect(body.pools).toMatchObject([
    { name: 'host@fast#pool', capabilities: room },
    { name: 'host@fast#lost', capabilities: { total_capacity_gb: 0, free_capacity_gb: 0, backend_state: 'down' } },
    { name: 'host@plain#pool', capabilities: room },
  ]);
});

test('an audit tells which backends it could not look at', async () => {
  const { body } = await service.ask('GET', '//scoria/v1/audit', { as: 'admin' });
  expect(body.audit.backends).toMatchObject([
    { backend: 'plain', unknown: [], missing: [], failure: null },
    { backend: 'fast', unknown: [], missing: [], failure: null },
    { backend: 'slow', unknown: null, missing: null, failure: { code: 'backend-failed', remedy: 'Bring the disk back.' } },
  ]);
  expect(body.audit.transports).toMatchObject([{ unknown: [], failure: null }, { failure: null }]);
});

test('an audit names the accesses of which a target has only a part', async () => {
  class HalfMade extends ListedExports {
    override async list() {
      return (await super.list()).map((each) => ({ ...each, complete: false }));
    }
  }
  const plugin = definePlugin({ ...limiting, name: 'half', config: z.strictObject({}), create: () => new HalfMade() });
  const half = await TestService.start({}, ['plain'], { backends: {}, transports: { listed: { plugin } } });
  try {
    const attachment = { volume_uuid: await half.volume(), connector: { initiator: 'iqn.2026-11.test:h1', host: 'h1' } };
    expect((await half.ask('POST', '/attachments', { body: { attachment } })).status).toBe(200);
    const { body } = await half.ask('GET', '//scoria/v1/audit', { as: 'admin' });
    const [transport] = body.audit.transports;
    expect(transport.exports).toMatchObject([{ complete: false }]);
    expect(transport).toMatchObject({ unknown: [], missing: [], incomplete: [transport.exports[0].access_id] });
  } finally {
    await half.stop();
  }
});

test('others are refused', async () => {
  expect((await service.ask('GET', '//scoria/v1/backends', { as: 'red' })).status).toBe(403);
});
