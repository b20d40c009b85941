import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiClient } from './api-client.ts';
import { figure, figureHeader, type Section } from './report.ts';
import { freePort, settledMemory, startService } from './service-process.ts';
import { rounds, spreadOf } from './statistics.ts';

const mebibyte = 2 ** 20;

/** Time from process start to listening, in a new and in a present data directory. */
export async function measureStart(directory: string, starts: number): Promise<Section> {
  const dataDirectory = join(directory, 'start');
  const once = async (fresh: boolean) => {
    if (fresh) await rm(dataDirectory, { recursive: true, force: true });
    const service = await startService({ dataDirectory, iscsiPort: await freePort() });
    await service.stop();
    return service.startTime;
  };
  // The first start of all reads the programs from the disk.
  await once(true);
  const first = await rounds(starts, () => once(true));
  const later = await rounds(starts, () => once(false));
  return {
    title: '4. Process start to listening, default configuration',
    header: figureHeader,
    rows: [
      figure('first start: makes the installation', 'ms', spreadOf(first), { atMost: 2000 }),
      figure('later start', 'ms', spreadOf(later), { atMost: 2000 }),
    ],
    notes: [`${starts} starts each, until the program says where it listens: API and iSCSI target, in two processes.`],
  };
}

/** Memory of the service by default configuration: at rest after its start, and after some use. */
export async function measureMemory(directory: string, services: number): Promise<Section> {
  const looks = await rounds(services, async (index) => {
    const dataDirectory = join(directory, `memory-${index}`);
    const service = await startService({ dataDirectory, iscsiPort: await freePort() });
    try {
      const idle = await settledMemory(service.pid);
      const client = await ApiClient.login(service.url, dataDirectory);
      for (let count = 0; count < 8; count++) await client.call('POST', '/volumes', { volume: { size: 1 } });
      for (let count = 0; count < 200; count++) await client.call('GET', '/volumes/detail');
      client.close();
      return { idle, used: await settledMemory(service.pid) };
    } finally {
      await service.stop();
    }
  });
  const own = spreadOf(looks.map(({ idle }) => idle.own / mebibyte));
  const both = spreadOf(looks.map(({ idle }) => (idle.own + idle.children) / mebibyte));
  const used = spreadOf(looks.map((look) => (look.used.own + look.used.children) / mebibyte));
  return {
    title: '3. Memory (PSS) of the built service, default configuration',
    header: figureHeader,
    rows: [
      figure('idle: control plane alone', 'MiB', own, { atMost: 150 }),
      figure('idle: with the target process', 'MiB', both, { atMost: 200 }),
      figure('after a login, 8 creates and 200 lists: both', 'MiB', used),
    ],
    notes: [`${services} services; PSS of /proc/PID/smaps_rollup once three looks in a row agree within 1%.`],
  };
}
