import { fileVolumes, initiatorChecks, initiatorConformance, type InitiatorUnderTest } from '@scoria/conformance';
import { describe, expect, test } from 'vitest';
import { brokenInitiators, type BrokenInitiator } from './broken-initiators.ts';
import { CollectingRunner } from './collecting-runner.ts';
import { LoopbackInitiator, PublishingTransport, type HostSessions } from './loopback-initiator.ts';

const createWith = (make: BrokenInitiator['make']) => async (): Promise<InitiatorUnderTest> => {
  const transport = new PublishingTransport();
  const sessions: HostSessions = new Map();
  return {
    initiator: make(transport, sessions),
    restart: async () => make(transport, sessions),
    publisher: { transport, volumes: await fileVolumes(), cleanup: async () => {} },
    cleanup: async () => {},
  };
};

initiatorConformance({
  describe,
  test,
  capabilities: ['host-sessions'],
  create: createWith((transport, sessions) => new LoopbackInitiator(transport, sessions)),
});

const lineOf = (id: string) => initiatorChecks.find((check) => check.id === id)?.contract;

test.each(brokenInitiators.map((each) => [each.name, lineOf(each.caughtBy[0]), each] as const))(
  '%s: breaks "%s" and is caught',
  async (_name, _line, { caughtBy, make }) => {
    const runner = new CollectingRunner();
    initiatorConformance({ ...runner.functions, capabilities: ['host-sessions'], create: createWith(make), soon: 400 });
    for (const id of caughtBy) await expect(runner.run(id), `${id} does not notice`).rejects.toThrow();
  },
);

test('every check is failed by a broken initiator', () => {
  const caught = new Set(brokenInitiators.flatMap(({ caughtBy }) => caughtBy));
  expect(initiatorChecks.map(({ id }) => id).filter((id) => !caught.has(id))).toEqual([]);
});

test('what needs sessions of the host is skipped where there are none', () => {
  const runner = new CollectingRunner();
  initiatorConformance({ ...runner.functions, create: createWith((transport) => new LoopbackInitiator(transport)) });
  expect(runner.skipped).toEqual([
    expect.stringContaining('disconnect-after-crash: skipped, the initiator does not declare "host-sessions"'),
  ]);
});
