import { fileVolumes, RecordingLog, runTransportConformance, transportChecks, transportConformance } from '@scoria/conformance';
import type { ConnectionInfo, ExportRequest, Log } from '@scoria/core';
import { describe, expect, test } from 'vitest';
import { brokenLimits } from './broken-limits.ts';
import { brokenMirrors } from './broken-mirrors.ts';
import { brokenSessions } from './broken-sessions.ts';
import { brokenTransports } from './broken-transports.ts';
import { CollectingRunner } from './collecting-runner.ts';
import { LimitingTransport } from './limiting-transport.ts';
import { LoopbackTransport } from './loopback-transport.ts';

function subjectOf(make: (log: Log) => LoopbackTransport) {
  let transport: LoopbackTransport;
  return {
    create: async () => {
      const log = new RecordingLog();
      transport = make(log);
      return { transport, log, volumes: await fileVolumes(), cleanup: async () => {} };
    },
    connect: (info: ConnectionInfo) => transport.connect(info),
    damage: (info: ConnectionInfo, request: ExportRequest) => transport.damage(info, request),
  };
}

const capabilities = ['point-in-time', 'mirror', 'limit'] as const;

transportConformance({ describe, test, capabilities, ...subjectOf((log) => new LimitingTransport(log)) });

const broken = [...brokenTransports, ...brokenSessions, ...brokenMirrors, ...brokenLimits];
const lineOf = (id: string) => transportChecks.find((check) => check.id === id)?.contract;

test.each(broken.map((each) => [each.name, lineOf(each.caughtBy[0]), each] as const))(
  '%s: breaks "%s" and is caught',
  async (_name, _line, each) => {
    const runner = new CollectingRunner();
    transportConformance({ ...runner.functions, capabilities, ...subjectOf(each.make), soon: 400 });
    for (const id of each.caughtBy) await expect(runner.run(id), `${id} does not notice`).rejects.toThrow();
  },
);

test('every check is failed by a broken transport', () => {
  const caught = new Set(broken.flatMap(({ caughtBy }) => caughtBy));
  expect(transportChecks.map(({ id }) => id).filter((id) => !caught.has(id))).toEqual([]);
  expect(new Set(broken.map(({ name }) => name)).size).toBe(broken.length);
});

test('without a client the checks that need one are skipped, with the reason', async () => {
  const { create } = subjectOf((log) => new LoopbackTransport(log));
  const report = await runTransportConformance({ name: 'loopback', version: '1.0.0', create });
  expect(report.failed).toBe(0);
  expect(report.results.filter(({ outcome }) => outcome === 'skipped').map(({ id }) => id)).toEqual(
    transportChecks.filter(({ needs }) => needs.length > 0).map(({ id }) => id),
  );
  expect(report.results.find(({ id }) => id === 'secret-wrong')?.reason).toBe('the suite was given no client');
  expect(report.results.find(({ id }) => id === 'half-made-told')?.reason).toBe(
    'the suite was given nothing to damage an export',
  );
  expect(report.results.find(({ id }) => id === 'mirror-both')?.reason).toBe('the transport does not declare "mirror"');
});
