import { startTransport, transportConformance } from '@scoria/conformance';
import { describe, test } from 'vitest';
import lio from '../../packages/driver-iscsi/src/lio/index.ts';
import { connect } from './fixtures/iscsi-client.ts';
import { loopVolumes } from './fixtures/loop-volumes.ts';

const config = { listen: ['127.0.0.1:3260'] };

describe('LIO with files', () => {
  transportConformance({ describe, test, create: () => startTransport(lio, config), connect });
});

describe('LIO with block devices', () => {
  transportConformance({
    describe,
    test,
    create: async () => ({ ...(await startTransport(lio, config)), volumes: await loopVolumes() }),
    connect,
  });
});
