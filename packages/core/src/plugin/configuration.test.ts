import { beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ManualClock } from '../../test/manual-clock.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import { noExec } from '../platform/exec.ts';
import { silentLog } from '../platform/log.ts';
import { systemRandom } from '../platform/random.ts';
import type { AnyVolumeDriver } from '../volume/driver.ts';
import { ConfigurationFaults, makePlugins, type PluginConfiguration } from './configuration.ts';
import { contractVersion, definePlugin, isPlugin, type PluginContext } from './plugin.ts';

const refused = () => Promise.reject(new Error('not for these tests'));
const driver: AnyVolumeDriver = {
  check: async () => ({ backendId: '6f0c2a52-45b2-4b22-9a3c-8f0f5d6f3a11' }),
  pools: async () => [],
  create: refused,
  delete: refused,
  extend: refused,
  createSnapshot: refused,
  deleteSnapshot: refused,
  async *list() {},
  locate: refused,
};

const surroundings = {
  clock: new ManualClock(),
  random: systemRandom,
  log: silentLog,
  exec: noExec,
  installationId: 'f2c1a1b0-0c1d-4d53-9c8d-0d7f4a6e2b10',
  baseDirectory: '/base',
  availabilityZone: 'nova',
};

let contexts: PluginContext<unknown>[] = [];
beforeEach(() => {
  contexts = [];
});

const empty = z.strictObject({});
const good = definePlugin({
  name: 'good-driver',
  kind: 'driver',
  api: '^1.0',
  config: z.strictObject({ path: z.string(), depth: z.int().default(3) }).partial({ path: true }),
  create: (context) => {
    contexts.push(context);
    return driver;
  },
});
const filter = definePlugin({
  name: 'good-filter',
  kind: 'pool-filter',
  api: '^1.0',
  config: empty,
  create: () => ({ verdict: () => ({ ok: true }) }),
});
const weigher = definePlugin({
  name: 'good-weigher',
  kind: 'pool-weigher',
  api: '^1.0',
  config: empty,
  create: () => ({ weigh: () => 1 }),
});

/** The faults of a configuration, as `path: message`. */
function faultsOf(configuration: PluginConfiguration): string[] {
  try {
    makePlugins(configuration, surroundings);
    return [];
  } catch (error) {
    if (!(error instanceof ScoriaError) || !(error.cause instanceof ConfigurationFaults)) throw error;
    expect(error.code).toBe('invalid-configuration');
    return error.cause.faults.map(({ path, message }) => `${path.join('.')}: ${message}`);
  }
}

describe('a sound configuration', () => {
  it('gives each plug-in its validated part and what it may use, and nothing else', () => {
    const plugins = makePlugins({ backends: { one: { plugin: good, config: { path: 'x' } } } }, surroundings);
    expect(plugins.backends.map(({ name, availabilityZone, transport }) => ({ name, availabilityZone, transport }))).toEqual([
      { name: 'one', availabilityZone: 'nova', transport: null },
    ]);
    expect(contexts).toHaveLength(1);
    expect(contexts[0]).toMatchObject({ name: 'one', config: { path: 'x', depth: 3 }, baseDirectory: '/base' });
    expect(contexts[0]?.installationId).toBe(surroundings.installationId);
  });

  it('makes a driver of its own for each backend that names the same plug-in', () => {
    const configuration = { backends: { one: { plugin: good }, two: { plugin: good, availabilityZone: 'east' } } };
    const { backends } = makePlugins(configuration, surroundings);
    expect(contexts.map(({ name }) => name)).toEqual(['one', 'two']);
    expect(backends.map(({ availabilityZone }) => availabilityZone)).toEqual(['nova', 'east']);
  });

  it('puts the guard around drivers: a foreign error is coded', async () => {
    const { backends } = makePlugins({ backends: { one: { plugin: good } } }, surroundings);
    const volume = { placementId: 'p', pool: 'pool', backendRef: null, size: 1 };
    const call = { signal: new AbortController().signal, fence: 0, progress: () => undefined };
    await expect(backends[0]?.driver.create(volume, call)).rejects.toMatchObject({
      code: 'backend-failed',
      message: 'backend one: create failed: not for these tests',
    });
  });

  it('keeps the order and the multipliers of filters and weighers', () => {
    const { filters, weighers } = makePlugins(
      { backends: { one: { plugin: good } }, filters: [{ plugin: filter }], weighers: [{ plugin: weigher, multiplier: -2 }] },
      surroundings,
    );
    expect(filters.map(({ name }) => name)).toEqual(['good-filter']);
    expect(weighers.map(({ name, multiplier }) => ({ name, multiplier }))).toEqual([{ name: 'good-weigher', multiplier: -2 }]);
  });
});

describe('faults of a configuration', () => {
  it('are told all together, each with its path', () => {
    const faults = faultsOf({
      backends: {
        '-odd': { plugin: good },
        nothing: { plugin: undefined },
        typo: { plugin: good, config: { depth: 'deep', other: 1 } },
        lost: { plugin: good, transport: 'nowhere' },
        swapped: { plugin: filter },
      },
      transports: { wrong: { plugin: good } },
      filters: [{ plugin: filter }, { plugin: weigher }, { plugin: filter }],
      weighers: [{ plugin: weigher, config: { unknown: true } }],
    });
    expect(faults).toEqual([
      'transports.wrong.plugin: good-driver is a driver, and a transport is needed here',
      "backends.-odd: a backend's name is 1 to 63 letters, digits, dots, underscores or hyphens, and begins with a letter or digit",
      'backends.nothing.plugin: this is no plug-in: its package must export by default what definePlugin() returned',
      expect.stringMatching(/^backends\.typo\.config\.depth: /),
      'backends.typo.config.other: there is no such setting',
      'backends.lost.transport: there is no transport nowhere; transports are: wrong',
      'backends.swapped.plugin: good-filter is a pool-filter, and a driver is needed here',
      'scheduler.filters.1.plugin: good-weigher is a pool-weigher, and a pool-filter is needed here',
      'scheduler.filters.2: good-filter stands here twice',
      'scheduler.weighers.0.config.unknown: there is no such setting',
    ]);
  });

  it('name a plug-in of another major version, and what to do', () => {
    const next = { ...good, name: 'next-driver', api: '^2.0' };
    expect(faultsOf({ backends: { one: { plugin: next } } })).toEqual([
      `backends.one.plugin: next-driver was built for version ^2.0 of the contracts, this is ${contractVersion}: install a later Scoria, or an earlier version of next-driver`,
    ]);
    expect(contexts).toEqual([]);
  });

  it('name a range that is none, and a module that could not be loaded', () => {
    expect(
      faultsOf({
        backends: { one: { plugin: { ...good, api: 'newest' } }, two: { plugin: new Error('./x.js cannot be loaded') } },
      }),
    ).toEqual([
      'backends.one.plugin: good-driver declares the contract range "newest", which is no semver range',
      'backends.two.plugin: ./x.js cannot be loaded',
    ]);
  });

  it('name capabilities without their method and methods without their capability', () => {
    const boastful = definePlugin({
      name: 'boastful',
      kind: 'driver',
      api: '^1.0',
      config: empty,
      capabilities: ['clone'],
      create: () => driver,
    });
    const modest = definePlugin({
      name: 'modest',
      kind: 'driver',
      api: '^1.0',
      config: empty,
      create: () => ({ ...driver, revert: async () => ({ done: true }) }),
    });
    expect(faultsOf({ backends: { one: { plugin: boastful }, two: { plugin: modest } } })).toEqual([
      'backends.one.plugin: boastful declares "clone" but has no clone()',
      'backends.two.plugin: modest has revert() but does not declare "revert"',
    ]);
  });

  /** A plug-in as an author without types may write it. */
  const untyped = (more: object) => Object.assign({}, good, more);
  const { pools: _pools, locate: _locate, ...halfDriver } = driver;
  const halfTransport = {
    ...Object.fromEntries(
      ['start', 'stop', 'export', 'unexport', 'resize', 'connectionInfo', 'stats', 'hold', 'copy'].map((verb) => [verb, refused]),
    ),
  };

  it.each<[string, unknown, string]>([
    ['nothing', undefined, 'good-driver makes undefined where a driver is needed: create() returns it'],
    [
      'a promise',
      Promise.resolve(driver),
      'good-driver makes a promise of a driver: create() is not async, and what takes time belongs into check()',
    ],
    ['half a driver', halfDriver, 'good-driver makes a driver without pools(), locate(), which every driver has'],
  ])('name what a plug-in makes in place of a driver: %s', (_what, made, fault) => {
    expect(faultsOf({ backends: { one: { plugin: untyped({ create: () => made }) } } })).toEqual([
      `backends.one.plugin: ${fault}`,
    ]);
  });

  it('name what a transport, a filter and a weigher lack', () => {
    expect(
      faultsOf({
        backends: { one: { plugin: good } },
        transports: { half: { plugin: untyped({ kind: 'transport', create: () => halfTransport }) } },
        filters: [{ plugin: { ...filter, create: () => ({}) } }],
        weighers: [{ plugin: { ...weigher, create: () => ({}) } }],
      }),
    ).toEqual([
      'transports.half.plugin: good-driver makes a transport without list(), which every transport has',
      'transports.half.plugin: good-driver makes a transport without "reaches", the kinds of locators that it opens',
      'transports.half.plugin: good-driver has hold(), copy() but no release(): "point-in-time" needs all of them',
      'scheduler.filters.0.plugin: good-filter makes a pool-filter without verdict(), which every pool-filter has',
      'scheduler.weighers.0.plugin: good-weigher makes a pool-weigher without weigh(), which every pool-weigher has',
    ]);
  });

  it('name what a definition lacks', () => {
    expect(
      faultsOf({
        backends: {
          one: { plugin: untyped({ name: undefined }) },
          two: { plugin: untyped({ config: undefined }) },
          three: { plugin: untyped({ capabilities: ['clones'] }) },
          four: { plugin: untyped({ config: z.strictObject({}).refine(async () => true) }) },
          five: { plugin: untyped({ locates: 'odd' }) },
        },
      }),
    ).toEqual([
      'backends.one.plugin: this plug-in has no name: definePlugin() takes one, usually that of its package',
      expect.stringMatching(/^backends\.two\.plugin: good-driver has no schema of its configuration/),
      expect.stringMatching(
        /^backends\.three\.plugin: good-driver declares "clones", which is no capability; capabilities are: clone, /,
      ),
      expect.stringMatching(/^backends\.four: good-driver could not be made: .*promise/i),
      expect.stringMatching(/^backends\.five\.plugin: good-driver gives locators of kind "odd" and brings nothing/),
    ]);
  });

  it('name what a plug-in throws while it is made', () => {
    const clumsy = definePlugin({
      name: 'clumsy',
      kind: 'driver',
      api: '^1.0',
      config: empty,
      create: () => {
        throw new Error('no such array');
      },
    });
    expect(faultsOf({ backends: { one: { plugin: clumsy } } })).toEqual([
      'backends.one: clumsy could not be made: no such array',
    ]);
  });

  it('name a configuration without a backend', () => {
    expect(faultsOf({ backends: {} })).toEqual(['backends: at least one backend is needed']);
  });
});

describe('a plug-in of another copy of core', () => {
  it('is known by its mark, and nothing else is taken for one', () => {
    expect(isPlugin({ ...good })).toBe(true);
    expect([null, undefined, 'good-driver', {}, () => good, { name: 'x', kind: 'driver', api: '^1.0' }].map(isPlugin)).toEqual(
      Array.from({ length: 6 }, () => false),
    );
  });
});
