import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packAll, type Packed } from '../../scripts/packed.ts';
import { documentedFiles, documentedSnippets } from './documented-files.ts';
import { freePort, InstalledService } from './installed-service.ts';

const root = join(import.meta.dirname, '../..');
let project: string;
let packed: readonly Packed[];

async function put(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(project, path)), { recursive: true });
  await writeFile(join(project, path), text);
}

const local = /^(npm_(package|lifecycle|config_local|config_workspace)|NODE_(OPTIONS|ENV|PATH)$|VITEST|INIT_CWD)/;

/** Runs a program in the project as somebody there would: with the project's own programs first on the path. */
function run(program: string, ...args: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  const path = [join(project, 'node_modules/.bin'), dirname(process.execPath), process.env.PATH ?? ''].join(delimiter);
  // npm and vitest tell their children about this project, which is not so on another's machine.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !local.test(name)));
  const child = spawn(program, args, {
    cwd: project,
    env: { ...env, PATH: path },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 150_000,
  });
  const output: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => output.push(part));
  child.stderr.on('data', (part: Buffer) => output.push(part));
  return new Promise((resolve, reject) => {
    child.on('error', reject).on('close', (code) => resolve({ code, output: Buffer.concat(output).toString('utf8') }));
  });
}

const otherMajor = `import { definePlugin } from '@scoria/core';
import { z } from 'zod';
export default definePlugin({
  name: 'acme-next-driver', kind: 'driver', api: '^2.0', config: z.strictObject({}),
  create: () => { throw new Error('never made'); },
});
`;

beforeAll(async () => {
  project = await realpath(await mkdtemp(join(tmpdir(), 'scoria-project-')));
  packed = await packAll(root, project);
  for (const [path, text] of await documentedFiles(join(root, 'docs/plugins.md'))) await put(path, text);
  for (const folder of await readdir(join(root, 'packages'))) {
    const snippets = await documentedSnippets(join(root, 'packages', folder, 'README.md'));
    for (const [index, code] of snippets.entries()) await put(`readme-${folder}-${index + 1}.ts`, code);
  }
  await put('package.json', JSON.stringify({ name: 'empty-project', private: true, type: 'module' }));
  const installed = await run(
    'npm',
    'install',
    '--prefer-offline',
    '--no-audit',
    '--no-fund',
    ...packed.map(({ tarball }) => tarball),
    './directory-driver',
    'zod@4.6.7',
  );
  expect(installed, installed.output).toMatchObject({ code: 0 });
});
afterAll(() => rm(project, { recursive: true, force: true }));

test('every package is there once and every entry of it can be imported', async () => {
  const entries: string[] = [];
  for (const { name } of packed) {
    const manifest: unknown = JSON.parse(await readFile(join(project, 'node_modules', name, 'package.json'), 'utf8'));
    const { exports } = manifest as { readonly exports: Readonly<Record<string, unknown>> };
    // The entry of a program begins to run when it is imported.
    entries.push(
      ...Object.keys(exports)
        .filter((path) => path !== './target-process')
        .map((path) => join(name, path)),
    );
  }
  expect(entries.length).toBeGreaterThanOrEqual(9);
  await put(
    'imports.js',
    `for (const entry of ${JSON.stringify(entries)}) console.log(entry, Object.keys(await import(entry)).length);\n`,
  );
  const { code, output } = await run('node', 'imports.js');
  expect(code, output).toBe(0);
  for (const entry of entries) expect(output).toMatch(new RegExp(`^${entry} [1-9]`, 'm'));
  const copies = await run('npm', 'ls', '@scoria/core', '--all', '--parseable');
  expect(
    new Set(
      copies.output
        .trim()
        .split('\n')
        .filter((line) => line.endsWith('@scoria/core')),
    ).size,
  ).toBe(1);
});

test('the published types serve an author: the documented plug-ins and the examples of every README compile strictly', async () => {
  const { code, output } = await run(
    process.execPath,
    join(root, 'node_modules/typescript-native/bin/tsc'),
    '-p',
    'tsconfig.json',
    ...['--typeRoots', join(root, 'node_modules/@types')],
    // Stricter than the guide asks for: authors may be.
    ...['--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess'],
  );
  expect(code, output).toBe(0);
});

test('the examples of READMEs run that need nothing but npm', async () => {
  const examples = ['core-1', 'core-2', 'driver-file-1', 'driver-memory-1', 'store-sql-1', 'identity-local-1', 'conformance-4'];
  await put('examples.js', examples.map((name) => `await import('./readme-${name}.ts');\n`).join(''));
  const { code, output } = await run('node', 'examples.js');
  expect(code, output).toBe(0);
  expect(output).toContain('available');
});

test('the documented report of LVM is read, and refused in words of its own when it is none', async () => {
  await put(
    'read-report.ts',
    [
      "import { logicalVolumes } from './lvm-report.ts';",
      'const { signal } = new AbortController();',
      'async function read(stdout: string, exitCode: number, stderr: string): Promise<unknown> {',
      '  const exec = { run: async () => ({ stdout, exitCode, stderr }), lines: async function* () {} };',
      "  return logicalVolumes(exec, 'vg', signal).catch((error: Error) => error.message);",
      '}',
      `const report = '{"report":[{"lv":[{"lv_name":"a","lv_size":"4096","lv_tags":""}]}]}';`,
      "for (const told of [await read(report, 0, ''), await read('WARNING', 0, ''), await read('', 5, 'vg not found')])",
      '  console.log(JSON.stringify(told));',
    ].join('\n'),
  );
  const { code, output } = await run('node', 'read-report.ts');
  expect(code, output).toBe(0);
  expect(output.trim().split('\n')).toEqual([
    '[{"lv_name":"a","lv_size":4096,"lv_tags":""}]',
    '"The report of volume group vg cannot be read"',
    '"Volume group vg: vg not found"',
  ]);
});

test('the documented transport passes the suite with the documented client', async () => {
  await put('transport.json', JSON.stringify({ listen: [`127.0.0.1:${await freePort()}`], inProcess: true }));
  const named = ['--plugin', './audited-transport.js', '--config', 'transport.json', '--client', './client.js'];
  const { code, output } = await run('scoria-conformance', ...named);
  expect(code, output).toBe(0);
  expect(output).toMatch(/capabilities: client, limit, mirror, point-in-time/);
});

test('the documented driver passes the conformance suite', async () => {
  const { code, output } = await run('node', '--test', '--test-reporter=tap', 'directory-driver/driver.test.ts');
  expect(code, output).toBe(0);
  expect(Number(/^# pass (\d+)$/m.exec(output)?.[1])).toBeGreaterThan(20);
});

test('the program of the suite finds the driver by its name and reports on it', async () => {
  await put('conformance.json', '{ "directory": "volumes" }');
  const named = ['--plugin', 'acme-directory-driver', '--config', 'conformance.json'];
  const { code, output } = await run('scoria-conformance', ...named, '--report', 'report');
  expect(code, output).toBe(0);
  const report: unknown = JSON.parse(await readFile(join(project, 'report/report.json'), 'utf8'));
  expect(JSON.stringify(report)).toContain('acme-directory-driver');
});

test('the program of the suite does not wait for ever, and does not vanish, when a driver hangs', async () => {
  await put(
    'hanging-driver.js',
    [
      "import plugin from 'acme-directory-driver';",
      'const check = () => new Promise(() => {});',
      'export default { ...plugin, create: (context) => Object.assign(plugin.create(context), { check }) };',
      '',
    ].join('\n'),
  );
  const named = ['--plugin', './hanging-driver.js', '--config', 'conformance.json', '--deadline', '200'];
  const { code, output } = await run('scoria-conformance', ...named);
  expect(output).toContain('scoria-conformance: the first look at the backend did not end within 200 ms');
  expect(code).toBe(2);
});

describe('the installed program', () => {
  test('places and attaches volumes with an out-of-tree driver, filter, weigher and transport', async () => {
    const service = await InstalledService.start(project, 'scoria.yaml');
    try {
      // The weigher from outside outweighs the others.
      const { id, host } = await service.create({ size: 1 });
      expect(host).toMatch(/@acme#files$/);
      // Its favourite is refused by the filter from outside, so the volume goes elsewhere.
      expect((await service.create({ size: 5 })).host).toMatch(/@plain#pool$/);
      const attachment = await service.attach(id, 'iqn.2026-11.org.example:host');
      expect(attachment['connection_info']).toMatchObject({ driver_volume_type: 'iscsi', volume_id: id });
      expect(await readFile(join(project, 'data/scoria.log'), 'utf8')).toContain('A volume was published');
    } finally {
      const told = await service.stop();
      expect(told.code, told.output).toBe(0);
    }
  });

  test('refuses a plug-in of another major version by name, with file, line and path, and tells all faults together', async () => {
    await put('next-driver.js', otherMajor);
    await put('half-driver.js', otherMajor.replace("'^2.0'", "'^1.0'").replace("throw new Error('never made')", 'return {}'));
    await put(
      'faulty.yaml',
      [
        'backends:',
        '  next:',
        '    plugin: ./next-driver.js',
        '  acme:',
        '    plugin: acme-directory-driver',
        '    transport: missing',
        '    config: { folder: here }',
        '  half:',
        '    plugin: ./half-driver.js',
        'scheduler:',
        '  filters:',
        '    - plugin: ./favourite-weigher.js',
        '      config: { backend: acme }',
        '    - plugin: ./not-there.js',
        '  weighers:',
        "    - plugin: 'zod'",
        '',
      ].join('\n'),
    );
    const { code, output } = await run(
      'scoria',
      '--config',
      'faulty.yaml',
      '--data-dir',
      'faulty-data',
      '--listen',
      '127.0.0.1:0',
    );
    expect(code).toBe(1);
    expect(output).toMatch(
      /faulty\.yaml:3: backends\.next\.plugin: acme-next-driver was built for version \^2\.0 of the contracts/,
    );
    expect(output).toMatch(/faulty\.yaml:6: backends\.acme\.transport: there is no transport missing/);
    expect(output).toMatch(/faulty\.yaml:7: backends\.acme\.config\.directory: /);
    expect(output).toMatch(/faulty\.yaml:7: backends\.acme\.config\.folder: there is no such setting/);
    expect(output).toMatch(/faulty\.yaml:12: scheduler\.filters\.0\.plugin: acme-favourite-weigher is a pool-weigher/);
    expect(output).toMatch(/faulty\.yaml:14: scheduler\.filters\.1\.plugin: \.\/not-there\.js cannot be loaded/);
    expect(output).toMatch(/faulty\.yaml:16: scheduler\.weighers\.0\.plugin: this is no plug-in/);
    expect(output).toMatch(
      /faulty\.yaml:9: backends\.half\.plugin: acme-next-driver makes a driver without check\(\), pools\(\), /,
    );
    expect(output).toMatch(/has 8 faults/);
  });
});
