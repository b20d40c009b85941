#!/usr/bin/env node
import { runProgram } from './program/run-program.ts';

const status = await runProgram(process.argv.slice(2), {
  directory: process.cwd(),
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
// A plug-in that has failed may have left something running.
process.stdout.write('', () => process.exit(status));
