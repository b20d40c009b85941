#!/usr/bin/env -S node --disable-warning=ExperimentalWarning
const oldest = 24;

// Before anything else is loaded: an older Node would fail on an import, without a word of what to do.
if (Number(process.versions.node.split('.')[0]) < oldest) {
  process.stderr.write(
    `scoria: Scoria needs Node ${oldest} or later; this is ${process.version}.\n` +
      'In a checkout, run "npm ci" without --ignore-scripts and start with "npm start"; elsewhere install a newer Node.\n',
  );
  process.exit(1);
}
const { runProgram } = await import('./program.ts');
await runProgram();
