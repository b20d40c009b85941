import { startTransport, transportConformance } from '@scoria/conformance';
import { describe, test } from 'vitest';
import { iscsiPlugin } from '../src/plugin.ts';
import { freePort } from './free-port.ts';
import { makeInitiator, plainCall, shortTimes } from './initiator-fixture.ts';

// A session whose access has ended gives up soon.
const initiator = makeInitiator({ times: { ...shortTimes, patience: 400 } });

transportConformance({
  capabilities: ['point-in-time', 'mirror', 'limit'],
  describe,
  test,
  create: async () => startTransport(iscsiPlugin, { listen: [`127.0.0.1:${await freePort()}`], inProcess: true }),
  connect: (info) => initiator.connect(info, { readOnly: false }, plainCall),
});
