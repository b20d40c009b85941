import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ContentOracle } from './content-oracle.ts';
import { freePort } from './free-port.ts';
import { connectDevice, plainCall, shortTimes } from './initiator-fixture.ts';
import { processTransport } from './process-transport.ts';
import { accessId, mebibyte, secret, volumeId } from './target-fixture.ts';

test('a device goes on, with every byte right, when the target process is killed under load', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'scoria-iscsi-'));
  const port = await freePort();
  const path = join(directory, 'volume');
  await writeFile(path, '');
  await truncate(path, 8 * mebibyte);
  const transport = processTransport({ directory, port });
  try {
    await transport.start(plainCall);
    await transport.export(
      { accessId, volumeId, device: { kind: 'path', path, blockSize: 512 }, readOnly: false, secret },
      plainCall,
    );
    const device = await connectDevice(port, { times: { ...shortTimes, patience: 30_000 } });
    const oracle = new ContentOracle(device, 11);
    const killed: number[] = [];
    const load = oracle.run(8, 100);
    for (const calls of [100, 500]) {
      while (oracle.calls < calls) await Promise.race([load, new Promise((resolve) => setTimeout(resolve, 5))]);
      killed.push(transport.processId);
      process.kill(transport.processId, 'SIGKILL');
    }
    await load;
    await oracle.check();
    expect(new Set([...killed, transport.processId]).size).toBe(3);
    await device.close();
  } finally {
    await transport.stop();
    await rm(directory, { recursive: true });
  }
}, 30_000);
