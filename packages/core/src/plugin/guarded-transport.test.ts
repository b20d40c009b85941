import { describe, expect, it } from 'vitest';
import { ManualClock } from '../../test/manual-clock.ts';
import { silentLog } from '../platform/log.ts';
import type { AnyTransport } from '../transport/transport.ts';
import { Guard } from './guard.ts';
import { guardTransport } from './guarded-transport.ts';

const call = { signal: new AbortController().signal, fence: 1, progress: () => {} };
const request = {
  accessId: 'a',
  volumeId: 'v',
  device: { kind: 'path', path: '/dev/v', blockSize: 512 },
  readOnly: false,
  secret: 's',
} as const;

const never = () => Promise.reject(new Error('not asked'));
const none: AnyTransport = {
  reaches: ['path'],
  start: never,
  stop: never,
  export: never,
  unexport: never,
  list: never,
  resize: never,
  connectionInfo: () => ({ driverVolumeType: 'iscsi', data: {} }),
  stats: never,
};

/** A transport without types answers whatever it likes. */
function answering(verb: keyof AnyTransport, answer: () => unknown): AnyTransport {
  const guard = new Guard('transport acme', new ManualClock(), silentLog, 'transport-failed');
  return guardTransport(Object.assign({}, none, Object.fromEntries([[verb, answer]])), guard);
}

describe('what a transport tells', () => {
  it.each([undefined, [{ accessId: 'a' }], {}])('of its exports, %j, is transport-failed', async (answer) => {
    await expect(answering('list', async () => answer).list(call)).rejects.toMatchObject({
      code: 'transport-failed',
      message: expect.stringContaining('list'),
    });
  });

  it.each([undefined, { data: {} }, Promise.resolve({ driverVolumeType: 'iscsi', data: {} })])(
    'a client of an access, %j, is transport-failed',
    (answer) => {
      expect(() => answering('connectionInfo', () => answer).connectionInfo(request)).toThrow(
        /^transport acme: connectionInfo answers/,
      );
    },
  );

  it('when it throws while it makes connection info, has a code', () => {
    const throwing = () => {
      throw new Error('no portal');
    };
    expect(() => answering('connectionInfo', throwing).connectionInfo(request)).toThrow(
      'transport acme: connectionInfo failed: no portal',
    );
  });

  it.each([undefined, 7, ''])('of a hold, %j, is transport-failed', async (answer) => {
    await expect(answering('hold', async () => answer).hold?.('v', 10, call)).rejects.toMatchObject({ code: 'transport-failed' });
  });

  it('of a release without whether it held, is transport-failed', async () => {
    const { release } = answering('release', async () => undefined);
    await expect(release?.('token', call)).rejects.toMatchObject({ code: 'transport-failed' });
  });
});
