import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseConfiguration } from '../src/configuration.ts';
import { defaultConfiguration } from '../src/default-configuration.ts';
import { serve } from '../src/serve.ts';

describe('a configuration', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'scoria-configuration-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  async function refusal(text: string): Promise<string> {
    const file = join(directory, 'scoria.yaml');
    writeFileSync(file, text);
    const dataDirectory = join(directory, 'data');
    const error: unknown = await serve({ dataDirectory, configurationFile: file }).then(
      (running) => running.stop(),
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: 'invalid-configuration' });
    expect(existsSync(dataDirectory)).toBe(false);
    return error instanceof Error ? error.message.replaceAll(`${directory}/`, '') : '';
  }

  it('that is built in has no fault', () => {
    expect(parseConfiguration(defaultConfiguration, 'built in', directory)).toMatchObject({ faults: [] });
  });

  it('tells all its faults at once, each with file, line and path, and nothing is touched', async () => {
    const message = await refusal(`listen: nonsense
unknown: 1
backends:
  a b:
    plugin: '@scoria/driver-file'
    transport: pigeon
    config: { directori: x }
  c:
    plugin: nothing-there
scheduler:
  filters:
    - plugin: '@scoria/driver-file'
`);
    expect(message.split('\n').map((line) => line.trim().split(': ').slice(0, 2).join(' '))).toEqual([
      'The configuration has 8 faults:',
      'scoria.yaml:1 listen',
      'scoria.yaml:2 unknown',
      'scoria.yaml:4 backends.a b',
      'scoria.yaml:7 backends.a b.config.directory',
      'scoria.yaml:7 backends.a b.config.directori',
      'scoria.yaml:6 backends.a b.transport',
      'scoria.yaml:9 backends.c.plugin',
      'scoria.yaml:12 scheduler.filters.0.plugin',
    ]);
  });

  it('that is no YAML says where', async () => {
    expect(await refusal('backends: [\n')).toContain('scoria.yaml:2:');
  });

  it('without a backend is refused', async () => {
    expect(await refusal('backends: {}\n')).toContain('at least one backend is needed');
    expect(await refusal('')).toContain('backends');
  });
});
