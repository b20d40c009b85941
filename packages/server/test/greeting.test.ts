import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { greeting } from '../src/greeting.ts';
import { serve } from '../src/serve.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'scoria-greeting-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

async function greetingOf(configuration: string): Promise<string> {
  const configurationFile = join(directory, 'scoria.yaml');
  writeFileSync(configurationFile, configuration);
  const running = await serve({ dataDirectory: join(directory, 'data'), listen: '127.0.0.1:0', configurationFile });
  try {
    return greeting(running);
  } finally {
    await running.stop();
  }
}

it('tells the targets by their names, and what is wrong with a backend in place of listing it', async () => {
  const said = await greetingOf(
    `
backends:
  sound: { plugin: '@scoria/driver-file', transport: rack1, config: { directory: sound } }
  lost: { plugin: '@scoria/driver-file', config: { directory: scoria.yaml/lost } }
transports:
  rack1: { plugin: '@scoria/driver-iscsi', config: { listen: ['127.0.0.1:0'] } }
`.replaceAll('scoria.yaml', join(directory, 'scoria.yaml')),
  );
  expect(said).toContain('\n  targets    rack1 on 127.0.0.1:0\n');
  expect(said).toContain('\n  backends   sound\n');
  expect(said).toMatch(/\n {2}trouble {4}lost: .*scoria\.yaml.*\n/);
});

it('says that there is no target', async () => {
  const said = await greetingOf(`backends: { sound: { plugin: '@scoria/driver-file', config: { directory: sound } } }`);
  expect(said).toContain('\n  targets    none\n');
  expect(said).not.toContain('trouble');
});
