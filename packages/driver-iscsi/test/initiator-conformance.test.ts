import { initiatorConformance, startTransport } from '@scoria/conformance';
import { describe, test } from 'vitest';
import { iscsiPlugin } from '../src/plugin.ts';
import { freePort } from './free-port.ts';
import { makeInitiator } from './initiator-fixture.ts';

initiatorConformance({
  describe,
  test,
  create: async () => ({
    initiator: makeInitiator(),
    publisher: await startTransport(iscsiPlugin, { listen: [`127.0.0.1:${await freePort()}`], inProcess: true }),
    cleanup: async () => {},
  }),
});
