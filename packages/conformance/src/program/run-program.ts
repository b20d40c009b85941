import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { systemClock, systemRandom, withDeadline, type Plugin } from '@scoria/core';
import { plainCall } from '../driver/driver-bench.ts';
import { runDriverConformance } from '../driver/driver-conformance.ts';
import { startDriver, type StartDriverOptions } from '../driver/driver-under-test.ts';
import { checkPlugin } from '../guarded.ts';
import { htmlReport } from '../report/html-report.ts';
import type { Report } from '../report/report.ts';
import { resultText, summaryText, textReport } from '../report/text-report.ts';
import { defaultDeadline } from '../run-checks.ts';
import { capabilitiesOf, runTransportConformance } from '../transport/transport-conformance.ts';
import { startTransport } from '../transport/transport-under-test.ts';
import { parseCommandLine, usage, type CommandLine } from './command-line.ts';
import { importClient, importPlugin, isOfKind, readConfig } from './plugin-module.ts';

/** Where the program runs and writes. */
export interface ProgramSurroundings {
  readonly directory: string;
  out(text: string): void;
  err(text: string): void;
}

/** Runs the program and gives its exit status. */
export async function runProgram(args: readonly string[], surroundings: ProgramSurroundings): Promise<0 | 1 | 2> {
  const { directory, out, err } = surroundings;
  try {
    const line = parseCommandLine(args);
    if (line === 'help') {
      out(usage);
      return 0;
    }
    const report = await reportOf(line, surroundings);
    out(`\n${summaryText(report)}\n`);
    if (line.report !== undefined) await writeReport(report, resolve(directory, line.report));
    return report.failed === 0 ? 0 : 1;
  } catch (error) {
    err(`scoria-conformance: ${error instanceof Error ? error.message : String(error)}\nTry --help.\n`);
    return 2;
  }
}

async function reportOf(line: CommandLine, { directory, out }: ProgramSurroundings): Promise<Report> {
  const { plugin, name, version } = await importPlugin(line.plugin, directory);
  const config = line.config === undefined ? {} : await readConfig(resolve(directory, line.config));
  checkPlugin(plugin, config);
  const common = {
    name,
    version,
    ...(line.soon !== undefined && { soon: line.soon }),
    ...(line.deadline !== undefined && { deadline: line.deadline }),
    onResult: (result: Report['results'][number]) => out(`${resultText(result)}\n`),
  };
  if (isOfKind(plugin, 'driver')) {
    const options: StartDriverOptions = { installationId: line.installation ?? systemRandom.uuid(), sweep: true };
    const look = () => refuseUsedBackend(plugin, config, options);
    await withDeadline(systemClock, line.deadline ?? defaultDeadline, 'the first look at the backend', look);
    const create = () => startDriver(plugin, config, options);
    return runDriverConformance({ ...common, capabilities: plugin.capabilities, create });
  }
  if (isOfKind(plugin, 'transport')) {
    const connect = line.client === undefined ? undefined : await importClient(line.client, directory);
    const create = () => startTransport(plugin, config);
    const { transport, volumes, cleanup } = await create();
    await volumes.remove();
    await cleanup();
    return runTransportConformance({ ...common, capabilities: capabilitiesOf(transport), create, ...(connect && { connect }) });
  }
  throw new Error(`${line.plugin} is a plug-in of kind ${plugin.kind}; there are suites for drivers and transports`);
}

async function refuseUsedBackend(plugin: Plugin<'driver'>, config: unknown, options: StartDriverOptions): Promise<void> {
  const { driver, cleanup } = await startDriver(plugin, config, options);
  try {
    await driver.check(plainCall);
    for await (const { kind, placementId } of driver.list(plainCall)) {
      throw new Error(`The backend holds ${kind} ${placementId}; the suite wants one that holds nothing`);
    }
  } finally {
    await cleanup();
  }
}

async function writeReport(report: Report, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, 'report.txt'), textReport(report));
  await writeFile(join(directory, 'report.json'), `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(join(directory, 'report.html'), htmlReport(report));
}
