import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { driverChecks, initiatorChecks, transportChecks } from '@scoria/conformance';
import { capabilityMethods } from '@scoria/core';
import { expect, test } from 'vitest';

const checks = [...driverChecks, ...transportChecks, ...initiatorChecks];
/** Where the contract is written. */
const contractFiles = [
  'volume/driver.ts',
  'transport/transport.ts',
  'transport/io-limits.ts',
  'transport/initiator.ts',
  'device/block-device.ts',
  'error/error-codes.ts',
  'platform/log.ts',
];

test('every check quotes a line of the contract, word for word', async () => {
  const core = join(import.meta.dirname, '../../core/src');
  const sources = await Promise.all(contractFiles.map((file) => readFile(join(core, file), 'utf8')));
  const contract = sources.join('\n').replaceAll(/\s*\n\s*\*?\s*/g, ' ');
  expect(checks.filter((check) => !contract.includes(check.contract)).map(({ id, contract }) => `${id}: ${contract}`)).toEqual(
    [],
  );
});

test('ids are unique and fit for a report, and every check says what it demands', () => {
  expect(new Set(checks.map(({ id }) => id)).size).toBe(checks.length);
  for (const { id, demand, verb } of checks) {
    expect(id).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(demand.length, id).toBeGreaterThan(20);
    expect(verb, id).toMatch(/^[a-zA-Z]+$/);
  }
});

test('every verb of a driver, a transport and an initiator has a check', () => {
  const verbsOf = (list: readonly { readonly verb: string }[]) => new Set(list.map(({ verb }) => verb));
  for (const verb of ['check', 'pools', 'create', 'delete', 'extend', 'createSnapshot', 'deleteSnapshot', 'list', 'locate'])
    expect(verbsOf(driverChecks)).toContain(verb);
  for (const verb of Object.values(capabilityMethods).flat()) expect(verbsOf(driverChecks)).toContain(verb);
  for (const verb of [
    'start',
    'stop',
    'export',
    'unexport',
    'list',
    'resize',
    'hold',
    'release',
    'copy',
    'mirror',
    'commitMirror',
    'endMirror',
    'limit',
    'connectionInfo',
    'stats',
  ])
    expect(verbsOf(transportChecks)).toContain(verb);
  for (const verb of ['connector', 'connect', 'disconnect', 'refreshSize']) expect(verbsOf(initiatorChecks)).toContain(verb);
});
