import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog, systemClock, systemRandom, type ExportRequest, type PluginCall } from '@scoria/core';
import { IscsiTransport, iscsiConfiguration } from '@scoria/driver-iscsi';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../bench/service-process.ts';
import { conformancePage, type ConformanceRun } from './iscsi-conformance/conformance-page.ts';
import { conformanceTests, runConformanceTest, type ConformanceResult } from './iscsi-conformance/conformance-program.ts';
import { faultsOfTheProgram } from './iscsi-conformance/faults-of-the-program.ts';

// Every test of libiscsi's test program, with CHAP and without. What it may say is in docs/iscsi-conformance.md.

const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const initiator = 'iqn.2026-11.org.scoria:conformance';
const volumeSize = 100 * 1024 * 1024;
/** What the target of Debian's tgt 1.0.85 skips of these tests, each run alone. */
const skippedByTgt = 59;
let directory: string;
const runs: ConformanceRun[] = [];

/** A target with one volume, and what the program is told of it. */
async function serve(authentication: 'chap' | 'initiator-name') {
  const transport = new IscsiTransport({
    name: authentication,
    config: iscsiConfiguration.parse({ listen: [`127.0.0.1:${await freePort()}`], authentication }),
    baseDirectory: directory,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    openers: {},
  });
  await transport.start(call);
  const path = join(directory, authentication);
  const file = await open(path, 'wx', 0o600);
  await file.truncate(volumeSize);
  await file.close();
  const volumeId = systemRandom.uuid();
  const publish = async (readOnly: boolean): Promise<string> => {
    const request: ExportRequest = {
      ...{ accessId: systemRandom.uuid(), volumeId, device: { kind: 'path', path, blockSize: 512 }, readOnly },
      ...{ secret: Buffer.from(systemRandom.bytes(8)).toString('hex'), initiator },
    };
    await transport.export(request, call);
    const { target_portal, target_iqn } = transport.connectionInfo(request).data;
    const user = authentication === 'chap' ? `${request.accessId}%${request.secret}@` : '';
    return `iscsi://${user}${String(target_portal)}/${String(target_iqn)}/0`;
  };
  return { transport, urls: [await publish(false), await publish(false)], readOnlyUrl: await publish(true) };
}

async function runAll(login: string, authentication: 'chap' | 'initiator-name'): Promise<ConformanceRun> {
  const { transport, urls, readOnlyUrl } = await serve(authentication);
  const name = authentication === 'chap' ? undefined : initiator;
  const results: ConformanceResult[] = [];
  try {
    for (const each of await conformanceTests()) {
      results.push(await runConformanceTest(each, each.startsWith('SCSI.ReadOnly.') ? [readOnlyUrl] : urls, name));
    }
  } finally {
    await transport.stop();
  }
  return { login, results };
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'scoria-conformance-'));
  runs.push(...(await Promise.all([runAll('with CHAP', 'chap'), runAll('without CHAP', 'initiator-name')])));
}, 600_000);
afterAll(() => rm(directory, { recursive: true, force: true }));

describe.each([0, 1])('login %i', (index) => {
  const results = () => runs[index]?.results ?? [];

  test('the target fails nothing but what is wrong in the test itself', () => {
    const failed = results().filter(({ outcome, test: name }) => outcome === 'failed' && !(name in faultsOfTheProgram));
    expect(failed).toEqual([]);
  });

  test('all tests were run, and fewer were skipped than by tgt', () => {
    expect(results().length).toBeGreaterThanOrEqual(230);
    expect(results().filter(({ outcome }) => outcome === 'skipped').length).toBeLessThan(skippedByTgt);
  });
});

test('the results are those that the documentation tells', async () => {
  await expect(conformancePage(runs)).toMatchFileSnapshot('../../docs/iscsi-conformance.md');
});
