import { isPlugin, silentLog, systemClock, systemRandom, type ExportRequest } from '@scoria/core';
import { describe, expect, test } from 'vitest';
import { iscsiConfiguration } from '../src/configuration.ts';
import { controlSocketPath } from '../src/control/socket-path.ts';
import plugin, { IscsiTransport } from '../src/index.ts';

const transport = (config: object): IscsiTransport =>
  new IscsiTransport({
    name: 'main',
    config: iscsiConfiguration.parse(config),
    baseDirectory: '/data',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    openers: {},
  });

const request: ExportRequest = {
  accessId: '11111111-1111-4111-8111-111111111111',
  volumeId: '22222222-2222-4222-8222-222222222222',
  device: { kind: 'path', path: '/volume', blockSize: 512 },
  readOnly: true,
  secret: 'hush',
};

test('the package exports a plug-in of kind transport', () => {
  expect(isPlugin(plugin) && plugin.kind).toBe('transport');
});

describe('connection info', () => {
  test('has what os-brick needs', () => {
    expect(transport({}).connectionInfo(request)).toEqual({
      driverVolumeType: 'iscsi',
      data: {
        target_discovered: false,
        target_portal: '127.0.0.1:3260',
        target_iqn: `iqn.2026-11.org.scoria:${request.accessId}`,
        target_lun: 0,
        volume_id: request.volumeId,
        auth_method: 'CHAP',
        auth_username: request.accessId,
        auth_password: 'hush',
        encrypted: false,
        access_mode: 'ro',
        discard: true,
      },
    });
  });

  test('names no secret where the name of the initiator is enough', () => {
    const { data } = transport({ authentication: 'initiator-name' }).connectionInfo(request);
    expect(Object.keys(data).filter((key) => key.startsWith('auth_'))).toEqual([]);
  });

  test('names every portal where there are several', () => {
    const { data } = transport({ listen: ['192.0.2.1:3260', '[2001:db8::1]:3260'] }).connectionInfo(request);
    expect(data).toMatchObject({
      target_portal: '192.0.2.1:3260',
      target_portals: ['192.0.2.1:3260', '[2001:db8::1]:3260'],
      target_luns: [0, 0],
    });
  });

  test('names the address that is advertised', () => {
    const { data } = transport({ listen: ['0.0.0.0:3260'], advertise: 'storage.example:3260' }).connectionInfo(request);
    expect(data['target_portal']).toBe('storage.example:3260');
  });
});

test.each([
  [{ listen: ['3260'] }],
  [{ listen: ['host:70000'] }],
  [{ listen: ['0.0.0.0:3260'] }],
  [{ iqnPrefix: 'IQN.2026-11.org' }],
  [{ orphanTimeout: 0 }],
  [{ redirect: 'elsewhere' }],
  [{ authentication: 'none' }],
  [{ mutualChap: { username: 'target' } }],
  [{ authentication: 'initiator-name', mutualChap: { username: 'target', secretFile: 'file' } }],
  [{ unknown: true }],
])('a configuration like %o is refused', (config) => {
  expect(iscsiConfiguration.safeParse(config).success).toBe(false);
});

test('the control socket is under the base directory', () => {
  expect(controlSocketPath('/data', 'a b')).toBe('/data/run/iscsi-a_b.sock');
});
