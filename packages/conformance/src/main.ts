#!/usr/bin/env node
import { MessageChannel } from 'node:worker_threads';

const oldest = 24;

// Before anything else is loaded: an older Node would fail on an import, without a word of what to do.
if (Number(process.versions.node.split('.')[0]) < oldest) {
  process.stderr.write(`scoria-conformance needs Node ${oldest} or later; this is ${process.version}.\n`);
  process.exit(2);
}
// Deadlines do not keep a process alive. Without this it would end in the middle, when all that it waits for is a verb that hangs.
new MessageChannel().port1.on('message', () => {});
const { runProgram } = await import('./program/run-program.ts');
const status = await runProgram(process.argv.slice(2), {
  directory: process.cwd(),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
// A plug-in that has failed may have left something running.
process.stdout.write('', () => process.exit(status));
