import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { openPathDevice, ScoriaError, systemClock, systemRandom, type Log, type LogFields } from '@scoria/core/device';
import { z } from 'zod';
import { ControlServer } from './control/control-server.ts';
import { targetSettingsSchema } from './control/messages.ts';
import { removeProcessIdentity, writeProcessIdentity } from './control/process-identity.ts';
import { TargetService } from './target/target-service.ts';

/**
 * The program of the target's own process. It reads one line of JSON from its standard input (how to listen and
 * let in), says on standard output that it is ready or why not, and then obeys its control socket. Its log is JSON
 * lines on standard error.
 */
const startSchema = z.object({ socketPath: z.string().min(1).max(107), settings: targetSettingsSchema });

/** Exit status after an error that was told on standard output. */
const failed = 1;

/** Time for the last words of a process that failed, ms. */
const logDeadline = 500;
/** Bytes of log kept for a controller that does not read; what comes then is lost. */
const maxUnread = 1_048_576;

// Written without waiting: a controller that stands still must not hold up initiators, and one that is gone neither.
const errorOutput = new Socket({ fd: 2, readable: false, writable: true });
errorOutput.on('error', () => {});
const write = (level: string) => (fields: LogFields, message: string) => {
  if (errorOutput.destroyed || errorOutput.writableLength > maxUnread) return;
  errorOutput.write(`${JSON.stringify({ level, time: systemClock.now(), ...fields, message })}\n`);
};
const log: Log = { debug: () => {}, info: write('info'), warn: write('warn'), error: write('error') };

/** Tells the parent, which may be gone. */
const tell = (message: object): void => {
  try {
    writeSync(1, `${JSON.stringify(message)}\n`);
  } catch {}
};

async function main(): Promise<void> {
  const { socketPath, settings } = startSchema.parse(JSON.parse(await firstLine()));
  const service = new TargetService({
    ...settings,
    openers: { path: (locator, options) => openPathDevice(locator, options) },
    clock: systemClock,
    random: systemRandom,
    log,
  });
  await service.start();
  const end = async (reason: string): Promise<void> => {
    log.info({ reason }, 'iSCSI target process ends');
    await removeProcessIdentity(socketPath);
    // Closing the server removes its socket; by then the next process may have made its own.
    await server.stop();
    process.exit(0);
  };
  const server = new ControlServer({
    socketPath,
    settings,
    service,
    clock: systemClock,
    log,
    onShutdown: (reason) => void end(reason),
  });
  await server.start();
  await writeProcessIdentity(socketPath).catch((error: unknown) => {
    log.warn({ error: ScoriaError.from(error).message }, 'if this process ever stands still, the next one cannot end it');
  });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void service.stop().then(() => end(signal)));
  }
  // The terminal's Ctrl-C and its end concern the control plane, which tells us what to do.
  process.on('SIGHUP', () => {});
  process.on('uncaughtException', (error) => {
    log.error({ error: error.message, stack: error.stack }, 'the iSCSI target process failed by a bug');
    const exit = (): never => process.exit(failed);
    if (errorOutput.destroyed) exit();
    errorOutput.end(exit);
    systemClock.timer(logDeadline, exit);
  });
  tell({ ready: true });
}

async function firstLine(): Promise<string> {
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length > 65_536) throw new ScoriaError('invalid-input', 'The start message of the iSCSI target is too long');
    if (text.includes('\n')) break;
  }
  return text;
}

main().catch((error: unknown) => {
  tell({ ready: false, error: ScoriaError.from(error).toData() });
  process.exit(failed);
});
