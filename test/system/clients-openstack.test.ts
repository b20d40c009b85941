import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Clients, newMember } from './client-programs.ts';
import { until } from './polling.ts';
import { Service } from './service.ts';

// Debian's `openstack`, unmodified, against the built service.

let service: Service;
let admin: Clients;
let dora: Clients;
let emil: Clients;

beforeAll(async () => {
  service = await Service.start();
  admin = new Clients(service);
  [dora, emil] = await Promise.all([newMember(service, 'dora'), newMember(service, 'emil')]);
});
afterAll(() => service.end());

describe.concurrent('openstack', { timeout: 240_000 }, () => {
  test('goes through the life of a volume', async () => {
    const api = await service.login(dora.caller);
    const created = await dora.show(
      'volume',
      'create',
      '--size',
      '1',
      '--property',
      'tier=gold',
      '--description',
      'first',
      'data',
    );
    const id = String(created['id']);
    expect(created).toMatchObject({ name: 'data', size: 1, type: 'file-1', properties: { tier: 'gold' }, bootable: 'false' });
    await api.volumeIs(id, 'available');
    await dora.openstack('volume', 'set', '--name', 'renamed', '--property', 'a=1', '--size', '2', 'data');
    await api.volumeIs(id, 'available');
    await dora.openstack('volume', 'unset', '--property', 'tier', 'renamed');
    expect(await dora.show('volume', 'show', 'renamed')).toMatchObject({
      id,
      status: 'available',
      size: 2,
      description: 'first',
      properties: { a: '1' },
      'os-vol-tenant-attr:tenant_id': api.projectId,
    });

    const snapshot = await dora.show('volume', 'snapshot', 'create', '--volume', 'renamed', '--property', 'k=v', 'yesterday');
    const snapshotId = String(snapshot['id']);
    expect(snapshot).toMatchObject({ volume_id: id, size: 2, properties: { k: 'v' } });
    await until('the snapshot', async () => ((await api.snapshots())[0]?.status === 'available' ? true : undefined));
    const [restored, clone] = await Promise.all([
      dora.show('volume', 'create', '--snapshot', 'yesterday', 'restored'),
      dora.show('volume', 'create', '--source', 'renamed', '--size', '3', 'clone'),
    ]);
    await Promise.all([restored, clone].map((volume) => api.volumeIs(String(volume['id']), 'available')));
    expect(restored).toMatchObject({ size: 2, snapshot_id: snapshotId });
    expect(clone).toMatchObject({ size: 3, source_volid: id });
    await dora.openstack('volume', 'snapshot', 'set', '--name', 'older', '--property', 'k2=v2', snapshotId);
    const [volumes, snapshots, shown] = await Promise.all([
      dora.list('volume', 'list', '--long'),
      dora.list('volume', 'snapshot', 'list'),
      dora.show('volume', 'snapshot', 'show', 'older'),
    ]);
    expect(volumes.map((row) => `${String(row['Name'])} ${String(row['Status'])} ${String(row['Size'])}`).toSorted()).toEqual([
      'clone available 3',
      'renamed available 2',
      'restored available 2',
    ]);
    expect(snapshots).toMatchObject([{ ID: snapshotId, Name: 'older', Status: 'available', Size: 2 }]);
    expect(shown).toMatchObject({ properties: { k: 'v', k2: 'v2' } });

    expect(await dora.openstackFails('volume', 'delete', 'renamed')).toContain('snapshot');
    await dora.openstack('volume', 'snapshot', 'delete', 'older');
    await until('the end of the snapshot', async () => ((await api.snapshots()).length === 0 ? true : undefined));
    await dora.openstack('volume', 'delete', 'renamed', 'clone', 'restored');
    await until('the end of the volumes', async () => ((await api.volumes()).length === 0 ? true : undefined));
    expect(await dora.list('volume', 'list')).toEqual([]);
  });

  test('manages types, also private ones', async () => {
    const [, secretType] = await Promise.all([
      admin.show('volume', 'type', 'create', '--property', 'volume_backend_name=file-2', '--description', 'second', 'fast'),
      admin.show('volume', 'type', 'create', '--private', '--project', 'dora-project', 'secret'),
    ]);
    expect(secretType).toMatchObject({ name: 'secret', is_public: false });
    await admin.openstack('volume', 'type', 'set', '--property', 'note=x', '--name', 'faster', 'fast');
    await admin.openstack('volume', 'type', 'unset', '--property', 'note', 'faster');
    const [shown, ofDora, ofEmil] = await Promise.all([
      admin.show('volume', 'type', 'show', 'faster'),
      dora.list('volume', 'type', 'list'),
      emil.list('volume', 'type', 'list'),
    ]);
    expect(shown).toMatchObject({ description: 'second', is_public: true, properties: { volume_backend_name: 'file-2' } });
    expect(ofDora.map((row) => row['Name']).toSorted()).toEqual(['faster', 'file-1', 'file-2', 'secret']);
    expect(ofEmil.map((row) => row['Name']).toSorted()).toEqual(['faster', 'file-1', 'file-2']);

    const api = await service.login(emil.caller);
    const volume = String((await emil.show('volume', 'create', '--size', '1', '--type', 'faster', 'on-second'))['id']);
    await api.volumeIs(volume, 'available');
    expect((await service.files()).filter((file) => file.startsWith('file-2/volumes/'))).toHaveLength(1);
    expect(await emil.openstackFails('volume', 'create', '--size', '1', '--type', 'secret', 'x')).toMatch(/secret/);
    await emil.openstack('volume', 'delete', 'on-second');
    await api.volumeIsGone(volume);
    await admin.openstack('volume', 'type', 'delete', 'faster', 'secret');
  });

  test('manages QoS specs by their names', async () => {
    const [spec] = await Promise.all([
      admin.show(
        'volume',
        'qos',
        'create',
        '--consumer',
        'both',
        '--property',
        'total_iops_sec=500',
        '--property',
        'x=y',
        'gold',
      ),
      admin.show('volume', 'type', 'create', '--private', 'golden'),
    ]);
    expect(spec).toMatchObject({ name: 'gold', consumer: 'both', properties: { total_iops_sec: '500', x: 'y' } });
    await admin.openstack('volume', 'qos', 'set', '--property', 'total_iops_sec=700', 'gold');
    await admin.openstack('volume', 'qos', 'unset', '--property', 'x', 'gold');
    await admin.openstack('volume', 'qos', 'associate', 'gold', 'golden');
    const [shown, listed, type] = await Promise.all([
      admin.show('volume', 'qos', 'show', 'gold'),
      admin.list('volume', 'qos', 'list'),
      admin.show('volume', 'type', 'show', 'golden'),
    ]);
    expect(shown).toMatchObject({ properties: { total_iops_sec: '700' }, associations: ['golden'] });
    expect(listed).toContainEqual(expect.objectContaining({ Name: 'gold', Consumer: 'both', Associations: ['golden'] }));
    expect(type).toMatchObject({ qos_specs_id: spec['id'] });
    expect(await admin.openstackFails('volume', 'qos', 'delete', 'gold')).toMatch(/1 of 1 .*failed/);
    await admin.openstack('volume', 'qos', 'disassociate', '--volume-type', 'golden', 'gold');
    await admin.openstack('volume', 'qos', 'associate', 'gold', 'golden');
    await admin.openstack('volume', 'qos', 'disassociate', '--all', 'gold');
    await admin.openstack('volume', 'qos', 'associate', 'gold', 'golden');
    await admin.openstack('volume', 'qos', 'delete', '--force', 'gold');
    await admin.openstack('volume', 'type', 'delete', 'golden');
  });

  test('lists services, zones and endpoints, and the users of the built-in identity', async () => {
    const [services, zones, catalog, users, whoAmI] = await Promise.all([
      admin.list('volume', 'service', 'list'),
      emil.list('availability', 'zone', 'list', '--volume'),
      admin.list('catalog', 'list'),
      admin.list('user', 'list'),
      emil.show('token', 'issue'),
    ]);
    expect(services.map((row) => `${String(row['Binary'])} ${String(row['State'])}`).toSorted()).toEqual([
      'cinder-scheduler up',
      'cinder-volume up',
      'cinder-volume up',
    ]);
    expect(zones).toEqual([{ 'Zone Name': 'nova', 'Zone Status': 'available' }]);
    expect(catalog.map((row) => row['Type'])).toEqual(expect.arrayContaining(['volumev3', 'block-storage', 'identity']));
    expect(users.map((row) => row['Name']).toSorted()).toEqual(['admin', 'dora', 'emil']);
    expect(whoAmI).toMatchObject({ id: expect.any(String), project_id: expect.any(String) });
    expect(await emil.openstackFails('user', 'list')).toMatch(/403/);
  });
});

test('two projects never see what is the other’s, and a wrong password sees nothing', async () => {
  const api = await service.login(dora.caller);
  const id = await api.newVolume({ size: 1, name: 'private' });
  const stranger = new Clients(service, { user: 'emil', password: 'guessed', project: 'emil-project' });
  const outsider = new Clients(service, { user: 'emil', password: 'secret of emil', project: 'dora-project' });
  const [own, everything, hidden, undeletable, refused, foreign] = await Promise.all([
    emil.list('volume', 'list'),
    admin.list('volume', 'list', '--all-projects'),
    emil.openstackFails('volume', 'show', id),
    emil.openstackFails('volume', 'delete', id),
    stranger.openstackFails('volume', 'list'),
    outsider.openstackFails('volume', 'list'),
  ]);
  expect(own).toEqual([]);
  expect(everything).toMatchObject([{ ID: id, Name: 'private' }]);
  expect(hidden).toContain('No volume with a name or ID');
  expect(undeletable).toContain('No volume with a name or ID');
  expect(refused).toMatch(/HTTP 401/);
  expect(foreign).toMatch(/HTTP 401/);
  await api.deleteVolume(id);
});
