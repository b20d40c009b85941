import { Command, CommanderError } from 'commander';
import { ScoriaError } from '@scoria/core';
import { defaultConfiguration } from './default-configuration.ts';
import { greeting } from './greeting.ts';
import { serve, type Running } from './serve.ts';

/** The `scoria` program: reads the command line, starts the service, stops it on SIGINT or SIGTERM. Errors are told on standard error, with what to do. */
export async function runProgram(): Promise<void> {
  await start().catch(fail);
}

async function start(): Promise<void> {
  const command = new Command('scoria')
    .description('Block storage as a service: the Block Storage API v3 over drivers, with an embedded iSCSI target')
    .option('--data-dir <directory>', 'directory of all state', './scoria-data')
    .option('--listen <host:port>', 'address of the API (default: 127.0.0.1:8776)')
    .option('--iscsi-listen <host:port>', 'address of the iSCSI target (default: 127.0.0.1:3260)')
    .option('--config <file>', 'configuration to use in place of the built-in one')
    .option('--print-config', 'print the built-in configuration and end')
    .option('--check-responses', 'check every answer of the API against its description, for tests')
    .allowExcessArguments(false)
    .exitOverride();
  const options = command.parse().opts<{
    dataDir: string;
    listen?: string;
    iscsiListen?: string;
    config?: string;
    printConfig?: boolean;
    checkResponses?: boolean;
  }>();
  if (options.printConfig) return void process.stdout.write(defaultConfiguration);
  const running = await serve({
    dataDirectory: options.dataDir,
    listen: options.listen,
    iscsiListen: options.iscsiListen,
    configurationFile: options.config,
    checkResponses: options.checkResponses,
  });
  stopOnSignal(running);
  // Whoever read our words may have gone; the service goes on.
  process.stdout.on('error', () => {});
  process.stdout.write(greeting(running));
}

/** The first signal stops in order, a second one at once. */
function stopOnSignal(running: Running): void {
  let stopping = false;
  const onSignal = () => {
    if (stopping) process.exit(130);
    stopping = true;
    process.stdout.write('\nStopping: requests and work under way come to an end.\n');
    running.stop().then(
      () => process.exit(0),
      (error: unknown) => fail(error),
    );
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
}

function fail(error: unknown): never {
  if (error instanceof CommanderError) process.exit(error.exitCode);
  const known = ScoriaError.from(error);
  process.stderr.write(`scoria: ${known.message}\n${known.code === 'internal' ? (known.stack ?? '') : known.remedy}\n`);
  process.exit(1);
}
