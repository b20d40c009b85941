import { initiatorConformance, startTransport } from '@scoria/conformance';
import { silentLog, systemClock, SystemExec } from '@scoria/core';
import iscsi from '@scoria/driver-iscsi';
import lio from '@scoria/driver-iscsi/lio';
import { OpenIscsiInitiator } from '@scoria/driver-iscsi/open-iscsi';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { loopVolumes } from './fixtures/loop-volumes.ts';
import { startIscsid, type Iscsid } from './fixtures/open-iscsi.ts';

// The kernel's initiator with the embedded target and with the kernel's own.

let iscsid: Iscsid;
beforeAll(async () => {
  iscsid = await startIscsid();
});
afterAll(() => iscsid[Symbol.asyncDispose]());

const initiator = () =>
  new OpenIscsiInitiator({
    ...{ clock: systemClock, log: silentLog },
    exec: new SystemExec({ clock: systemClock, log: silentLog }),
  });
const host = { initiator: initiator(), restart: async () => initiator(), cleanup: async () => {} };

// Each check starts a target process, which takes a guest some seconds.
describe.runIf(process.env['LAB_LONG'] === '1')('open-iscsi with the embedded target', () => {
  // In a process of its own: one that waits for its own target in libuv's pool would wait for ever.
  const publisher = () => startTransport(iscsi, { listen: ['127.0.0.1:3280'] });
  initiatorConformance({
    ...{ describe, test, capabilities: ['host-sessions'], soon: 20_000 },
    create: async () => ({ ...host, publisher: await publisher() }),
  });
});

describe('open-iscsi with LIO', () => {
  initiatorConformance({
    ...{ describe, test, capabilities: ['host-sessions'], soon: 20_000 },
    create: async () => ({
      ...host,
      publisher: { ...(await startTransport(lio, { listen: ['127.0.0.1:3281'] })), volumes: await loopVolumes() },
    }),
  });
});
