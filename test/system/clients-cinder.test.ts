import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type BlockStorageApi } from './block-storage-api.ts';
import { Clients, newMember, propertiesOf, rowsOf } from './client-programs.ts';
import { until } from './polling.ts';
import { Service } from './service.ts';

// Debian's `cinder`, unmodified, against the built service. Each flow has a project of its own, so that they run at the same time.

let service: Service;
let admin: Clients;
let alice: Clients;
let bob: Clients;
let carol: Clients;

beforeAll(async () => {
  service = await Service.start();
  admin = new Clients(service);
  [alice, bob, carol] = await Promise.all([newMember(service, 'alice'), newMember(service, 'bob'), newMember(service, 'carol')]);
});
afterAll(() => service.end());

const idOf = (text: string): string => propertiesOf(text)['id'] ?? '';
const apiOf = (clients: Clients) => service.login(clients.caller);

/** Waits over plain HTTP, which costs less than the client does. */
async function snapshotIs(api: BlockStorageApi, id: string, status: string): Promise<void> {
  await until(`snapshot ${id} ${status}`, async () =>
    (await api.snapshots()).find((snapshot) => snapshot.id === id)?.status === status ? true : undefined,
  );
}

describe.concurrent('cinder', { timeout: 240_000 }, () => {
  test('goes through the life of a volume', async () => {
    const api = await apiOf(alice);
    const created = await alice.cinder('create', '--poll', '--name', 'data', '--metadata', 'tier=gold', '--', '1');
    const id = idOf(created);
    expect(propertiesOf(await alice.cinder('show', 'data'))).toMatchObject({
      id,
      status: 'available',
      size: '1',
      name: 'data',
      metadata: 'tier : gold',
      volume_type: 'file-1',
      availability_zone: 'nova',
      bootable: 'false',
    });
    await alice.cinder('rename', 'data', 'renamed', '--description', 'of alice');
    await alice.cinder('metadata', 'renamed', 'set', 'a=1', 'b=2');
    await alice.cinder('metadata', 'renamed', 'unset', 'a');
    await alice.cinder('extend', id, '2');
    await api.volumeIs(id, 'available');
    expect(await api.volume(id)).toMatchObject({
      name: 'renamed',
      description: 'of alice',
      size: 2,
      metadata: { tier: 'gold', b: '2' },
    });

    const snapshot = idOf(await alice.cinder('snapshot-create', '--name', 'yesterday', 'renamed'));
    await snapshotIs(api, snapshot, 'available');
    expect(rowsOf(await alice.cinder('snapshot-list'))).toMatchObject([
      { ID: snapshot, 'Volume ID': id, Status: 'available', Name: 'yesterday', Size: '2' },
    ]);
    const [fromSnapshot, clone] = await Promise.all([
      alice.cinder('create', '--poll', '--snapshot-id', snapshot, '--name', 'restored').then(idOf),
      alice.cinder('create', '--poll', '--source-volid', id, '--name', 'clone', '--', '3').then(idOf),
    ]);
    expect(await api.volume(fromSnapshot)).toMatchObject({ size: 2, snapshot_id: snapshot, status: 'available' });
    expect(await api.volume(clone)).toMatchObject({ size: 3, source_volid: id, status: 'available' });
    await alice.cinder('revert-to-snapshot', snapshot);
    await api.volumeIs(id, 'available');

    const listed = rowsOf(await alice.cinder('list', '--sort', 'size:desc'));
    expect(listed.map(({ Name }) => Name)).toEqual(['clone', expect.any(String), expect.any(String)]);
    expect(rowsOf(await alice.cinder('list', '--name', 'clone'))).toMatchObject([{ ID: clone, Status: 'available' }]);

    expect(await alice.cinderFails('delete', id)).toMatch(/dependent snapshots.*\(HTTP 400\)/);
    await alice.cinder('snapshot-delete', snapshot);
    await until('the end of the snapshot', async () => ((await api.snapshots()).length === 0 ? true : undefined));
    await alice.cinder('delete', id, clone, fromSnapshot);
    for (const gone of [id, clone, fromSnapshot]) await api.volumeIsGone(gone);
    expect(rowsOf(await alice.cinder('list'))).toEqual([]);
  });

  test('manages types, and tells why no backend took a volume', async () => {
    const type = rowsOf(await admin.cinder('type-create', 'impossible', '--description', 'on no backend'))[0]?.['ID'] ?? '';
    await admin.cinder('type-key', 'impossible', 'set', 'volume_backend_name=elsewhere', 'note=x');
    await admin.cinder('type-key', 'impossible', 'unset', 'note');
    const [specs, shown] = await Promise.all([
      admin.cinder('extra-specs-list').then(rowsOf),
      bob.cinder('type-show', 'impossible').then(propertiesOf),
    ]);
    expect(specs).toContainEqual({ ID: type, Name: 'impossible', extra_specs: "{'volume_backend_name': 'elsewhere'}" });
    expect(shown).toMatchObject({ id: type, description: 'on no backend', is_public: 'True' });

    const failed = idOf(await bob.cinder('create', '--name', 'stranded', '--volume-type', 'impossible', '1'));
    const api = await apiOf(bob);
    await until('the volume in error', async () => ((await api.volume(failed)).status === 'error' ? true : undefined));
    const [message] = rowsOf(await bob.cinder('message-list', '--resource_uuid', failed));
    expect(message?.['User Message']).toMatch(/file-1#pool: .*elsewhere.*file-2#pool: .*elsewhere/);
    expect(propertiesOf(await bob.cinder('message-show', message?.['ID'] ?? ''))).toMatchObject({
      resource_uuid: failed,
      message_level: 'ERROR',
    });
    expect(await admin.cinderFails('type-delete', 'impossible')).toContain('(HTTP 400)');
    await bob.cinder('message-delete', message?.['ID'] ?? '');
    await bob.cinder('delete', failed);
    await api.volumeIsGone(failed);
    await admin.cinder('type-delete', 'impossible');
    expect(await bob.cinderFails('type-create', 'mine')).toContain('HTTP 403');
  });

  test('manages QoS specs, and shows them with the types that have them', async () => {
    const spec = propertiesOf(await admin.cinder('qos-create', 'gold', 'consumer=front-end', 'total_iops_sec=500', 'vendor=x'));
    expect(spec).toMatchObject({ name: 'gold', consumer: 'front-end' });
    const id = spec['id'] ?? '';
    const type = rowsOf(await admin.cinder('type-create', 'golden', '--is-public', 'False'))[0]?.['ID'] ?? '';
    await admin.cinder('qos-key', id, 'set', 'total_iops_sec_max=900', 'read_bytes_sec=1000');
    await admin.cinder('qos-key', id, 'unset', 'vendor');
    expect(await admin.cinderFails('qos-key', id, 'set', 'read_bytes_sec=fast')).toMatch(/read_bytes_sec.*\(HTTP 400\)/);
    const shown = await admin.cinder('qos-show', id);
    for (const key of ['total_iops_sec : 500', 'total_iops_sec_max : 900', 'read_bytes_sec : 1000']) expect(shown).toContain(key);
    expect(shown).not.toContain('vendor');
    expect(rowsOf(await admin.cinder('qos-list'))).toContainEqual(
      expect.objectContaining({ ID: id, Name: 'gold', Consumer: 'front-end' }),
    );
    await admin.cinder('qos-associate', id, type);
    expect(propertiesOf(await admin.cinder('type-show', 'golden'))).toMatchObject({ qos_specs_id: id });
    expect(rowsOf(await admin.cinder('qos-get-association', id))).toMatchObject([
      { Association_Type: 'volume_type', Name: 'golden', ID: type },
    ]);
    expect(await admin.cinderFails('qos-delete', id)).toContain('(HTTP 400)');
    await admin.cinder('qos-disassociate', id, type);
    await admin.cinder('qos-associate', id, type);
    await admin.cinder('qos-disassociate-all', id);
    expect(rowsOf(await admin.cinder('qos-get-association', id))).toEqual([]);
    await admin.cinder('qos-associate', id, type);
    await admin.cinder('qos-delete', '--force', 'True', id);
    expect(propertiesOf(await admin.cinder('type-show', 'golden'))).toMatchObject({ qos_specs_id: 'None' });
    await admin.cinder('type-delete', 'golden');
    expect(await bob.cinderFails('qos-create', 'mine', 'consumer=both')).toContain('HTTP 403');
  });

  test('takes over a file that lies on a backend, and lets go of it', async () => {
    const api = await apiOf(admin);
    const host = `${hostname()}@file-2#pool`;
    const place = join(service.directory, 'backends/file-2/import');
    await writeFile(join(place, 'disk.raw'), 'of old');
    await truncate(join(place, 'disk.raw'), 2 * 2 ** 30);
    await writeFile(join(place, 'note.txt'), 'no disk');
    expect(rowsOf(await admin.cinder('manageable-list', host, '--sort', 'reference:asc'))).toMatchObject([
      { reference: "{'source-name': 'disk.raw'}", size: '2', safe_to_manage: 'True', cinder_id: '-' },
      {
        reference: "{'source-name': 'note.txt'}",
        safe_to_manage: 'False',
        reason_not_safe: expect.stringContaining('no multiple'),
      },
    ]);
    const marked = ['--sort', 'reference:asc', '--marker', "{'source-name': 'disk.raw'}", '--detailed', 'False'];
    expect(rowsOf(await admin.cinder('manageable-list', host, ...marked))).toMatchObject([
      { reference: "{'source-name': 'note.txt'}" },
    ]);

    const words = ['--name', 'old', '--volume-type', 'file-2', '--metadata', 'from=disk', '--bootable'];
    const id = idOf(await admin.cinder('manage', ...words, host, 'disk.raw'));
    await api.volumeIs(id, 'available');
    expect(propertiesOf(await admin.cinder('show', id))).toMatchObject({
      size: '2',
      name: 'old',
      bootable: 'true',
      volume_type: 'file-2',
      metadata: 'from : disk',
      'os-vol-host-attr:host': host,
    });
    expect(await alice.cinderFails('manage', host, 'note.txt')).toContain('HTTP 403');
    await admin.cinder('unmanage', id);
    await api.volumeIsGone(id);
    const [file] = (await readdir(place)).filter((name) => name !== 'note.txt');
    expect((await stat(join(place, file ?? ''))).size).toBe(2 * 2 ** 30);

    expect(await admin.cinderFails('manage', host, 'note.txt')).toMatch(/type file-1.*HTTP 400/);
    const noDisk = ['--volume-type', 'file-2', '--id-type', 'source-id', host, 'note.txt'];
    const failed = idOf(await admin.cinder('manage', ...noDisk));
    await until('the end of the attempt', async () => ((await api.volume(failed)).status === 'error' ? true : undefined));
    await admin.cinder('delete', failed);
    await api.volumeIsGone(failed);
    expect(await readFile(join(place, 'note.txt'), 'utf8')).toBe('no disk');
  });

  test('sets, shows and holds a quota', async () => {
    const api = await apiOf(carol);
    await admin.cinder('quota-update', api.projectId, '--volumes', '1', '--gigabytes', '3');
    const id = idOf(await carol.cinder('create', '--poll', '--name', 'only', '2'));
    expect(await carol.cinderFails('create', '1')).toMatch(/quota.*\(HTTP 413\)/is);
    expect(await carol.cinderFails('extend', id, '4')).toMatch(/\(HTTP 413\)/);
    const [usage, limits] = await Promise.all([
      admin.cinder('quota-usage', api.projectId).then(rowsOf),
      carol.cinder('absolute-limits').then((text) => Object.fromEntries(rowsOf(text).map(({ Name, Value }) => [Name, Value]))),
    ]);
    expect(usage).toContainEqual(expect.objectContaining({ Type: 'volumes', In_use: '1', Reserved: '0', Limit: '1' }));
    expect(usage).toContainEqual(expect.objectContaining({ Type: 'gigabytes', In_use: '2', Reserved: '0', Limit: '3' }));
    expect(usage).toContainEqual(expect.objectContaining({ Type: 'gigabytes_file-1', In_use: '2' }));
    expect(limits).toMatchObject({
      maxTotalVolumes: '1',
      totalVolumesUsed: '1',
      maxTotalVolumeGigabytes: '3',
      totalGigabytesUsed: '2',
    });
    expect(await carol.cinderFails('quota-update', api.projectId, '--volumes', '100')).toContain('HTTP 403');
    await admin.cinder('quota-delete', api.projectId);
    expect(propertiesOf(await carol.cinder('quota-show', api.projectId))).toMatchObject({ volumes: '10', gigabytes: '1000' });
    await api.deleteVolume(id);
  });

  test('lists services, pools, zones and versions', async () => {
    const services = rowsOf(await admin.cinder('service-list'));
    expect(services.map((row) => `${row['Binary']} ${row['State']} ${row['Status']}`).toSorted()).toEqual([
      'cinder-scheduler up enabled',
      'cinder-volume up enabled',
      'cinder-volume up enabled',
    ]);
    const pools = await admin.cinder('get-pools', '--detail');
    expect(pools).toMatch(/@file-1#pool/);
    expect(pools).toMatch(/@file-2#pool/);
    expect(pools).toMatch(/free_capacity_gb\s*\|\s*\d/);
    expect(await bob.cinderFails('get-pools')).toContain('HTTP 403');
    expect(rowsOf(await bob.cinder('availability-zone-list'))).toEqual([{ Name: 'nova', Status: 'available' }]);
    expect(await bob.cinder('version-list')).toContain('3.71');
  });

  test('tells what is not here, and why', async () => {
    for (const [words, reason] of [
      [['backup-list'], /no backups here.*HTTP 404/],
      [['group-list'], /no groups of volumes here.*HTTP 404/],
      [['transfer-list'], /another project.*HTTP 404/],
      [['service-get-log'], /Log levels.*HTTP 404/],
    ] as const) {
      expect(await admin.cinderFails(...words), words.join(' ')).toMatch(reason);
    }
    const id = idOf(await admin.cinder('create', '--poll', '--name', 'plain', '1'));
    expect(await admin.cinderFails('reset-state', '--state', 'error', id)).toMatch(/Statuses follow.*HTTP 400/);
    expect(await admin.cinderFails('upload-to-image', id, 'image')).toMatch(/No image service.*HTTP 400/);
    expect(rowsOf(await admin.cinder('encryption-type-list'))).toEqual([]);
    expect(propertiesOf(await admin.cinder('get-capabilities', `${hostname()}@file-1`))).toMatchObject({
      volume_backend_name: 'file-1',
      storage_protocol: 'iSCSI',
    });
    await admin.cinder('set-bootable', id, 'true');
    const clone = idOf(await admin.cinder('create', '--poll', '--source-volid', id));
    expect(propertiesOf(await admin.cinder('show', clone))).toMatchObject({ bootable: 'true', size: '1' });
    const api = await apiOf(admin);
    await api.deleteVolume(clone);
    await api.deleteVolume(id);
  });
});

test('two projects never see what is the other’s', async () => {
  const [mine, theirs] = await Promise.all([apiOf(alice), apiOf(bob)]);
  const id = await mine.newVolume({ size: 1, name: 'private' });
  const snapshot = await mine.newSnapshot(id);
  const [list, tenants, everything] = await Promise.all([
    bob.cinder('list').then(rowsOf),
    // A member may ask for all projects, and still gets no more than its own.
    bob.cinder('list', '--all-tenants', '1').then(rowsOf),
    admin.cinder('list', '--all-tenants', '1').then(rowsOf),
  ]);
  expect(list).toEqual([]);
  expect(tenants).toEqual([]);
  expect(everything).toContainEqual(expect.objectContaining({ ID: id, 'Tenant ID': mine.projectId }));
  expect(await bob.cinderFails('show', id)).toContain('No volume with a name or ID');

  const attempts = [
    ['GET', `/volumes/${id}`],
    ['PUT', `/volumes/${id}`, { volume: { name: 'taken' } }],
    ['DELETE', `/volumes/${id}`],
    ['GET', `/volumes/${id}/metadata`],
    ['POST', `/volumes/${id}/action`, { 'os-extend': { new_size: 2 } }],
    ['POST', `/volumes/${id}/action`, { 'os-reserve': {} }],
    ['POST', `/volumes/${id}/action`, { revert: { snapshot_id: snapshot } }],
    ['POST', '/attachments', { attachment: { volume_uuid: id, instance_uuid: crypto.randomUUID(), connector: null } }],
    ['GET', `/snapshots/${snapshot}`],
    ['DELETE', `/snapshots/${snapshot}`],
    ['POST', '/snapshots', { snapshot: { volume_id: id } }],
    ['POST', '/volumes', { volume: { source_volid: id, size: 1 } }],
    ['POST', '/volumes', { volume: { snapshot_id: snapshot, size: 1 } }],
  ] as const;
  for (const [method, path, body] of attempts) {
    const { status } = await theirs.send(method, path, body);
    expect(status, `${method} ${path}`).toBe(404);
  }
  expect((await theirs.send('GET', '/scoria/v1/operations')).body).toMatchObject({
    operations: expect.not.arrayContaining([expect.objectContaining({ project_id: mine.projectId })]),
  });
  expect(await mine.volume(id)).toMatchObject({ name: 'private', status: 'available', size: 1 });
  await mine.call(202, 'DELETE', `/snapshots/${snapshot}`);
  await until('the end of the snapshot', async () => ((await mine.snapshots()).length === 0 ? true : undefined));
  await mine.deleteVolume(id);
});

test('wrong input is answered as Cinder does', async () => {
  const api = await apiOf(alice);
  const id = await api.newVolume({ size: 2, name: 'target' });
  const attached = await api.attach(id);
  const nowhere = '11111111-2222-3333-4444-555555555555';
  const snapshotOf = (volume: string) => ({ snapshot: { volume_id: volume } });
  const cases = [
    ['itemNotFound', 404, 'GET', `/volumes/${nowhere}`],
    ['itemNotFound', 404, 'DELETE', `/volumes/${nowhere}`],
    ['itemNotFound', 404, 'GET', '/volumes/not-a-uuid'],
    ['itemNotFound', 404, 'GET', `/snapshots/${nowhere}`],
    ['itemNotFound', 404, 'POST', '/snapshots', snapshotOf(nowhere)],
    ['itemNotFound', 404, 'GET', `/attachments/${nowhere}`],
    ['itemNotFound', 404, 'POST', '/volumes', { volume: { size: 1, volume_type: 'no-such-type' } }],
    ['itemNotFound', 404, 'POST', '/volumes', { volume: { size: 1, snapshot_id: nowhere } }],
    ['itemNotFound', 404, 'GET', '/no-such-resource'],
    ['badRequest', 400, 'POST', '/volumes', { volume: { size: 0 } }],
    ['badRequest', 400, 'POST', '/volumes', { volume: { size: -1 } }],
    ['badRequest', 400, 'POST', '/volumes', { volume: { size: 'large' } }],
    ['badRequest', 400, 'POST', '/volumes', { volume: { size: 1.5 } }],
    ['badRequest', 400, 'POST', '/volumes', { volume: { size: 1, name: 'x'.repeat(256) } }],
    ['badRequest', 400, 'POST', '/volumes', { volume: { size: 1, metadata: { key: 5 } } }],
    ['badRequest', 400, 'POST', '/volumes', { volume: {} }],
    ['badRequest', 400, 'POST', '/volumes', {}],
    ['badRequest', 400, 'POST', '/volumes', { volume: { source_volid: id, size: 1 } }],
    // In use:
    ['badRequest', 400, 'DELETE', `/volumes/${id}`],
    ['badRequest', 400, 'POST', '/snapshots', { snapshot: { volume_id: id, force: false } }],
    ['badRequest', 400, 'POST', `/volumes/${id}/action`, { 'os-extend': { new_size: 1 } }],
    ['badRequest', 400, 'POST', `/volumes/${id}/action`, { 'os-extend': { new_size: 2 } }],
    ['badRequest', 400, 'POST', `/volumes/${id}/action`, { 'os-extend': { new_size: 'x' } }],
    ['badRequest', 400, 'POST', `/volumes/${id}/action`, { 'os-no-such-action': {} }],
    ['badRequest', 400, 'POST', `/volumes/${id}/action`, { 'os-reserve': {} }],
    ['badRequest', 400, 'GET', '/volumes?limit=-1'],
    ['badRequest', 400, 'GET', '/volumes?sort=no_such_key'],
    ['forbidden', 403, 'POST', '/types', { volume_type: { name: 'mine' } }],
    ['forbidden', 403, 'POST', `/volumes/${id}/action`, { 'os-force_delete': {} }],
  ] as const;
  for (const [fault, code, method, path, body] of cases) {
    const answer = await api.send(method, path, body);
    const what = `${method} ${path} ${JSON.stringify(body)}: ${JSON.stringify(answer.body)}`;
    expect(answer.status, what).toBe(code);
    expect(answer.body, what).toMatchObject({ [fault]: { code, message: expect.stringMatching(/\S/) } });
    expect(answer.headers.get('X-Openstack-Request-Id')).toMatch(/^req-/);
  }
  expect((await api.send('GET', '/volumes', undefined, '3.999')).status).toBe(406);
  expect((await api.send('GET', '/volumes', undefined, '2.0')).status).toBe(406);
  expect((await api.send('GET', '/volumes', undefined, 'newest')).status).toBe(400);
  expect((await api.send('GET', '/attachments', undefined, '3.26')).status).toBe(404);
  expect((await fetch(`${service.url}/v3/${api.projectId}/volumes`)).status).toBe(401);
  const foreign = await fetch(`${service.url}/v3/${api.projectId}/volumes`, { headers: { 'X-Auth-Token': 'forged' } });
  expect(foreign.status).toBe(401);
  expect(z.looseObject({ versions: z.array(z.unknown()) }).parse(await (await fetch(service.url)).json()).versions).not.toEqual(
    [],
  );

  expect(await alice.cinderFails('extend', id, '1')).toContain('(HTTP 400)');
  expect(await alice.cinderFails('delete', id)).toContain('(HTTP 400)');
  expect(await alice.cinderFails('create', '1', '--volume-type', 'no-such-type')).toContain('(HTTP 404)');
  await api.detach(attached.id);
  await api.deleteVolume(id);
});
