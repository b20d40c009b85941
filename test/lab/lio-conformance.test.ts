import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTransport, transportConformance, type Damage } from '@scoria/conformance';
import { lioRoot } from '@scoria/driver-iscsi/lio';
import { describe, test } from 'vitest';
import lio from '../../packages/driver-iscsi/src/lio/index.ts';
import { connect } from './fixtures/iscsi-client.ts';
import { loopVolumes } from './fixtures/loop-volumes.ts';

const config = { listen: ['127.0.0.1:3260'] };
/** The first that is undone when an export ends. */
const damage: Damage = ({ data }) => writeFile(join(lioRoot, 'iscsi', String(data['target_iqn']), 'tpgt_1/enable'), '0');

describe('LIO with files', () => {
  transportConformance({ describe, test, create: () => startTransport(lio, config), connect, damage });
});

describe('LIO with block devices', () => {
  transportConformance({
    describe,
    test,
    create: async () => ({ ...(await startTransport(lio, config)), volumes: await loopVolumes() }),
    connect,
    damage,
  });
});
