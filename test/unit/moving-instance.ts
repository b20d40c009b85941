import type { BlockStorage, BlockStorageOptions } from '@scoria/core';
import capabilitiesFilter from '@scoria/scheduler-weighers/capabilities-filter';
import { caller, memoryInstance } from './instance.ts';
import { type RecordingTransport, recordingTransport } from './recording-transport.ts';

type DriverPlugin = BlockStorageOptions['plugins']['backends'][string]['plugin'];

/** An instance over two backends with a transport, and a volume type of the name of each. */
export async function movingInstance(
  backends: Readonly<Record<'old' | 'new', DriverPlugin>>,
  transport: RecordingTransport,
): Promise<BlockStorage> {
  const storage = await memoryInstance({
    plugins: {
      backends: { old: { plugin: backends.old, transport: 'wire' }, new: { plugin: backends.new, transport: 'wire' } },
      transports: { wire: { plugin: recordingTransport(transport) } },
      filters: [{ plugin: capabilitiesFilter }],
    },
    worker: { retryPauses: [1], drain: 0 },
  });
  for (const name of ['old', 'new']) {
    await storage.volumeTypes.create(caller('root', true), { name, extraSpecs: { volume_backend_name: name } });
  }
  return storage;
}
