import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ScoriaError } from '@scoria/core';
import { expect, it, vi } from 'vitest';
import { openLog } from '../src/service-log.ts';

it('calls an error by its own name, whatever a bundler has made of its class', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'scoria-log-'));
  try {
    const { log, logFile } = openLog({ level: 'info', file: 'scoria.log' }, directory);
    const Renamed = class _ScoriaError extends ScoriaError {};
    log.error({ err: new Renamed('backend-failed', 'The disk is gone', { cause: new Error('EIO') }) }, 'a call failed');
    const line: unknown = await vi.waitFor(() => JSON.parse(readFileSync(logFile, 'utf8')), { timeout: 5000, interval: 5 });
    expect(line).toMatchObject({
      msg: 'a call failed',
      err: { type: 'ScoriaError', code: 'backend-failed', message: 'The disk is gone: EIO' },
    });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
