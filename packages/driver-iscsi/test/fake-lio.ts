import { basename, join } from 'node:path';
import { ScoriaError } from '@scoria/core';
import type { ConfigTree } from '../src/lio/configfs.ts';

const refused = (errno: string, what: string): ScoriaError =>
  new ScoriaError('transport-failed', `The kernel refuses to ${what}: ${errno}`, { details: { errno } });

const folderOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 0));
const lines = (text: string): string[] => text.trim().split(/\s+/);
const backstoreAttributes = lines(`control enable udev_path wwn/vendor_id wwn/product_id wwn/vpd_unit_serial attrib/block_size
  attrib/hw_block_size attrib/emulate_tpu attrib/emulate_tpws attrib/unmap_zeroes_data attrib/emulate_3pc
  statistics/scsi_lu/num_cmds statistics/scsi_lu/read_mbytes statistics/scsi_lu/write_mbytes`);
const groupAttributes = lines(`enable dynamic_sessions auth/userid auth/password attrib/authentication attrib/generate_node_acls
  attrib/demo_mode_write_protect attrib/demo_mode_discovery attrib/default_cmdsn_depth attrib/login_timeout param/AuthMethod
  param/TargetAlias param/MaxRecvDataSegmentLength param/DefaultTime2Retain`);
const admittedAttributes = ['auth/userid', 'auth/password', 'info'];

/** What a new object has, by the form of its path. */
const objects: readonly {
  readonly form: RegExp;
  readonly attributes: readonly string[];
  readonly folders?: readonly string[];
}[] = [
  { form: /^iscsi$/, attributes: [] },
  { form: /^core\/(iblock|fileio)_\d+$/, attributes: ['hba_info'] },
  { form: /^core\/(iblock|fileio)_\d+\/[^/]+$/, attributes: backstoreAttributes },
  { form: /^iscsi\/[^/]+$/, attributes: [] },
  { form: /^iscsi\/[^/]+\/tpgt_\d+$/, attributes: groupAttributes, folders: ['lun', 'np', 'acls'] },
  { form: /^iscsi\/[^/]+\/tpgt_\d+\/(lun\/lun_\d+|np\/[^/]+)$/, attributes: [] },
  { form: /^iscsi\/[^/]+\/tpgt_\d+\/acls\/[^/]+$/, attributes: admittedAttributes },
  { form: /^iscsi\/[^/]+\/tpgt_\d+\/acls\/[^/]+\/lun_\d+$/, attributes: ['write_protect'] },
];

/** What the kernel sets by itself. */
const defaults: Readonly<Record<string, string>> = {
  enable: '0',
  'attrib/hw_block_size': '512',
  'attrib/block_size': '512',
  'attrib/demo_mode_write_protect': '1',
  'param/TargetAlias': 'LIO Target',
  info: 'No active iSCSI Session for Initiator Endpoint: ',
};

/**
 * LIO's tree as the kernel keeps it: which objects have which attributes, in which order they can be made and removed, and
 * what the kernel refuses. It carries no data.
 */
export class FakeLio implements ConfigTree {
  readonly root = '/fake/target';
  readonly attributes = new Map<string, string>();
  readonly folders = new Set(['', 'core', 'core/alua']);
  readonly links = new Map<string, string>();
  /** Addresses on which another program listens. */
  readonly taken = new Set<string>();
  /** Attributes that the kernel refuses to set, and why. */
  readonly refuses = new Map<RegExp, string>();
  /** Initiators whose logins become sessions right after the next time that a target is disabled. */
  late: readonly string[] = [];
  /** Attributes whose change waits, and for what. */
  readonly holds = new Map<RegExp, Promise<void>>();
  /** Changes so far. */
  changes = 0;
  /** The process that uses the tree is killed before this change. */
  dieAt = Infinity;

  async make(path: string): Promise<boolean> {
    this.#change();
    if (this.folders.has(path)) return false;
    const object = objects.find(({ form }) => form.test(path));
    if (object === undefined || !this.folders.has(folderOf(path))) throw refused('ENOENT', `make ${path}`);
    if (folderOf(path).endsWith('/np') && this.taken.has(basename(path))) throw refused('EINVAL', `make ${path}`);
    this.folders.add(path);
    for (const folder of object.folders ?? []) this.folders.add(join(path, folder));
    for (const attribute of object.attributes) this.attributes.set(join(path, attribute), defaults[attribute] ?? '');
    return true;
  }

  async remove(path: string): Promise<boolean> {
    this.#change();
    if (!this.folders.has(path)) return false;
    if ([...this.links.values()].includes(path)) throw refused('EBUSY', `remove ${path}`);
    const own = new Set(['lun', 'np', 'acls'].map((name) => join(path, name)));
    const inside = [...this.folders, ...this.links.keys()].filter((name) => name.startsWith(`${path}/`) && !own.has(name));
    if (inside.length > 0) throw refused('ENOTEMPTY', `remove ${path}`);
    for (const name of [path, ...own]) this.folders.delete(name);
    for (const name of this.attributes.keys()) if (name.startsWith(`${path}/`)) this.attributes.delete(name);
    return true;
  }

  async link(object: string, path: string): Promise<boolean> {
    this.#change();
    if (this.links.has(path)) return false;
    if (!this.folders.has(object) || !this.folders.has(folderOf(path))) throw refused('ENOENT', `link ${path}`);
    if (object.startsWith('core/') && this.attributes.get(`${object}/enable`) !== '1') throw refused('ENODEV', `link ${path}`);
    this.links.set(path, object);
    return true;
  }

  async unlink(path: string): Promise<boolean> {
    this.#change();
    return this.links.delete(path);
  }

  async read(path: string): Promise<string | null> {
    this.#live();
    return this.attributes.get(path)?.trim() ?? null;
  }

  async write(path: string, value: string): Promise<void> {
    this.#change();
    for (const [form, end] of this.holds) if (form.test(path)) await end;
    if (!this.attributes.has(path)) throw refused('ENOENT', `write ${path}`);
    for (const [form, errno] of this.refuses) if (form.test(path)) throw refused(errno, `write ${path}`);
    const backstore = /^(core\/[^/]+\/[^/]+)\/wwn\//.exec(path)?.[1];
    if (backstore !== undefined && [...this.links.values()].includes(backstore)) throw refused('EINVAL', `write ${path}`);
    const isGroup = /tpgt_\d+\/enable$/.test(path);
    if (isGroup && this.attributes.get(path) === value) throw refused('EINVAL', `write ${path}`);
    this.attributes.set(path, value);
    // Sessions end with their portal group.
    if (isGroup && value === '0') {
      this.attributes.set(join(path, '../dynamic_sessions'), this.late.map((name) => `${name}\n`).join(''));
      this.late = [];
      for (const name of this.attributes.keys()) {
        if (name.startsWith(join(path, '../acls/')) && name.endsWith('/info')) this.attributes.set(name, '');
      }
    }
  }

  set(path: string, value: string): Promise<void> {
    return this.write(path, value);
  }

  async target(path: string): Promise<string | null> {
    this.#live();
    return this.links.get(path) ?? null;
  }

  async list(path: string): Promise<readonly string[]> {
    this.#live();
    const prefix = path === '' ? '' : `${path}/`;
    const all = [...this.folders, ...this.attributes.keys(), ...this.links.keys()];
    const inside = all.filter((name) => name !== '' && name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    return [...new Set(inside.map((name) => name.split('/', 1)[0] ?? ''))];
  }

  /** Folders and links, as they are. */
  get shape(): readonly string[] {
    return [...this.folders, ...this.links.keys()].toSorted();
  }

  /** Value of the only attribute whose path ends so. */
  value(end: string): string | undefined {
    const found = [...this.attributes].filter(([path]) => path.endsWith(end));
    if (found.length > 1) throw new Error(`${found.length} attributes end with ${end}`);
    return found[0]?.[1];
  }

  #change(): void {
    this.changes++;
    this.#live();
  }

  #live(): void {
    if (this.changes >= this.dieAt) throw new Error('the process was killed');
  }
}
