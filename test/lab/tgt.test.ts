import { startTransport, transportConformance } from '@scoria/conformance';
import { afterAll, beforeAll, describe, test } from 'vitest';
import tgt from '../../packages/driver-iscsi/src/tgt/index.ts';
import { connect } from './fixtures/iscsi-client.ts';
import { loopVolumes } from './fixtures/loop-volumes.ts';
import { startTgtd, type Tgtd } from './fixtures/tgtd.ts';

let tgtd: Tgtd;
beforeAll(async () => {
  tgtd = await startTgtd();
});
afterAll(async () => tgtd[Symbol.asyncDispose]());

describe('tgt with block devices', () => {
  transportConformance({
    describe,
    test,
    create: async () => ({ ...(await startTransport(tgt, { listen: ['127.0.0.1:3260'] })), volumes: await loopVolumes() }),
    connect,
  });
});
