import type { Command, CommandResult, Exec } from '@scoria/core';

const extent = 4 * 1024 * 1024;

/** What the model keeps of a logical volume: the fields of its report. */
export interface ModelledVolume {
  name: string;
  size: number;
  attr: string;
  tags: string[];
  origin: string;
  pool: string;
  fill: number;
  active: boolean;
  invalid: boolean;
  /** Thin pools: whether chunks are zeroed. */
  zeroes: boolean;
  /** Thin pools: what becomes of discards. */
  discards: 'ignore' | 'passdown';
  /** Thin pools: bytes. */
  chunkSize: number;
  health: string;
  /** Thin pools: percent of metadata in use. */
  metadata: number;
}

/** What LVM says of a request that it refuses, with exit status 5. */
class Refusal extends Error {}

/**
 * Stands for LVM where there is none: keeps one volume group as plain data, answers in LVM's own format, and counts the
 * commands. It knows the commands that the driver gives, and no others.
 */
export class ModelledLvm implements Exec {
  readonly commands: Command[] = [];
  readonly volumes = new Map<string, ModelledVolume>();
  readonly groupTags = new Set<string>();
  group = 'vg';
  size = 250 * extent;
  missing = 0;
  openCount = 0;
  /** Whether it is LVM 2.03.17 or later. */
  knowsFileSystems = false;
  /** Answers a command in the model's place when it gives something. */
  instead: (verb: string, command: Command) => CommandResult | undefined | Promise<CommandResult | undefined> = () => undefined;
  #nextUuid = 1;

  /** Verbs of LVM and names of other programs since the last call. */
  counted(): string[] {
    return this.commands.splice(0).map(({ program, args }) => (program === 'lvm' ? (args[0] ?? '') : program));
  }

  /** Adds a logical volume. */
  add(volume: Partial<ModelledVolume> & { readonly name: string }): ModelledVolume {
    const none = { tags: [], origin: '', pool: '', fill: 0, metadata: 10.94, health: '' };
    const pool = { zeroes: true, discards: 'passdown' as const, chunkSize: 65_536 };
    const defaults = { ...none, ...pool, size: extent, attr: '-wi-a-----', active: true, invalid: false };
    const added = { ...defaults, ...volume };
    this.volumes.set(added.name, added);
    return added;
  }

  addPool(name: string, fill = 0): ModelledVolume {
    return this.add({ name, attr: 'twi-aotz--', size: 100 * extent, fill });
  }

  async run(command: Command): Promise<CommandResult> {
    this.commands.push(command);
    const verb = command.program === 'lvm' ? (command.args[0] ?? '') : command.program;
    const told = await this.instead(verb, command);
    if (told) return told;
    try {
      return {
        exitCode: 0,
        stdout: this.#answer(verb, command.args),
        stderr: '  WARNING: This metadata update is NOT backed up.\n',
      };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { exitCode: verb === 'dmsetup' ? 1 : 5, stdout: '', stderr: `  WARNING: something else.\n  ${error.message}\n` };
    }
  }

  async *lines(command: Command): AsyncGenerator<string> {
    this.commands.push(command);
    const told = await this.instead(command.program, command);
    yield* (told?.stdout ?? '').split('\n');
  }

  #answer(verb: string, args: readonly string[]): string {
    const option = (name: string) => args[args.indexOf(name) + 1] ?? '';
    const has = (name: string) => args.includes(name);
    const all = (name: string) => args.flatMap((arg, index) => (args[index - 1] === name ? [arg] : []));
    const last = args.at(-1) ?? '';
    const target = () => this.#volume(last);
    const bytes = (text: string) => Number(text.replace(/b$/, ''));
    switch (verb) {
      case 'fullreport': {
        this.#groupNamed(last);
        const volumes = [...this.volumes.values()];
        const pools = volumes.filter(({ attr }) => attr.startsWith('t'));
        return JSON.stringify({
          report: [
            { vg: [this.#groupRow()], pv: [], lv: volumes.map((each) => this.#row(each)), pvseg: [], seg: pools.map(segmentRow) },
          ],
        });
      }
      case 'lvs':
        return JSON.stringify({ report: [{ lv: [{ ...this.#row(target()), ...this.#groupRow(), ...segmentRow(target()) }] }] });
      case 'vgchange':
        for (const tag of all('--deltag')) this.groupTags.delete(tag);
        for (const tag of all('--addtag')) this.groupTags.add(tag);
        return '';
      case 'lvcreate': {
        const name = option('--name');
        const size = bytes(has('--virtualsize') ? option('--virtualsize') : option('--size'));
        if (this.volumes.has(name)) throw new Refusal(`Logical Volume "${name}" already exists in volume group "${this.group}"`);
        const tags = all('--addtag');
        if (option('--type') === 'thin-pool') return this.#made({ ...this.addPool(name), tags });
        if (has('--snapshot')) {
          const origin = target();
          const thin = origin.attr.startsWith('V');
          const attr = thin ? 'Vwi-a-tz--' : 'swi-a-s---';
          return this.#made(
            this.add({
              name,
              size: thin ? origin.size : size,
              attr,
              tags,
              origin: origin.name,
              pool: origin.pool,
              fill: origin.fill,
            }),
          );
        }
        if (option('--type') === 'thin')
          return this.#made(this.add({ name, size, attr: 'Vwi-a-tz--', tags, pool: option('--thinpool') }));
        if (size > this.free) {
          throw new Refusal(`Volume group "${this.group}" has insufficient free space (1 extents): ${size / extent} required.`);
        }
        return this.#made(this.add({ name, size, tags }));
      }
      case 'lvreduce':
        if (has('--fs') && !this.knowsFileSystems) throw new Refusal("lvreduce: unrecognized option '--fs'");
        target().size = bytes(option('--size'));
        return '';
      case 'lvextend':
        target().size = bytes(option('--size'));
        return '';
      case 'lvrename': {
        const [from = '', to = ''] = args.slice(-2);
        const volume = this.#volume(`${this.group}/${from}`);
        if (this.volumes.has(to)) throw new Refusal(`Logical Volume "${to}" already exists in volume group "${this.group}"`);
        this.volumes.delete(from);
        volume.name = to;
        this.volumes.set(to, volume);
        for (const other of this.volumes.values()) if (other.origin === from) other.origin = to;
        return '';
      }
      case 'lvchange':
        for (const path of args.filter((arg) => arg.startsWith(`${this.group}/`))) {
          const volume = this.#volume(path);
          if (has('--activate')) volume.active = option('--activate') === 'y';
          volume.tags = [...volume.tags.filter((tag) => !all('--deltag').includes(tag)), ...all('--addtag')];
        }
        return '';
      case 'lvremove': {
        if (this.openCount > 0) throw new Refusal(`Logical volume ${last} in use.`);
        const { name, attr } = target();
        // As real: those that depend on it go too, unasked.
        const snapshots = [...this.volumes.values()].filter((each) => each.origin === name && each.attr.startsWith('s'));
        if (snapshots.length > 0 && option('--select').includes('lv_role!={thickorigin}')) return '';
        if (attr.startsWith('t')) throw new Error('A thin pool was to be removed');
        for (const each of [...snapshots.map((snapshot) => snapshot.name), name]) this.volumes.delete(each);
        return `  Logical volume "${name}" successfully removed.\n`;
      }
      case 'dmsetup':
        if (args[0] === 'status') return this.#status(last);
        return args[0] === 'info' ? `${this.openCount}\n` : '';
      case 'blkdiscard':
        return '';
      default:
        throw new Error(`The model of LVM does not know ${verb} ${args.join(' ')}`);
    }
  }

  #made({ name, tags }: ModelledVolume): string {
    const made = this.volumes.get(name);
    if (made) made.tags = [...tags];
    return `  Logical volume "${name}" created.\n`;
  }

  #groupNamed(name: string): void {
    if (name !== this.group) throw new Refusal(`Volume group "${name}" not found\n  Cannot process volume group ${name}`);
  }

  #volume(path: string): ModelledVolume {
    const [group = '', name = ''] = path.split('/');
    this.#groupNamed(group);
    const found = this.volumes.get(name);
    if (!found) throw new Refusal(`Failed to find logical volume "${path}"`);
    return found;
  }

  /** Status of a thin pool, as dmsetup(8) tells it. */
  #status(device: string): string {
    const pool = this.volumes.get(device.replace(`${this.group}-`, '').replace(/-tpool$/, ''));
    if (!pool?.active) throw new Refusal('Device does not exist.\nCommand failed.');
    const { size, chunkSize, fill, metadata, health } = pool;
    const of = (percent: number, blocks: number) => `${Math.round((blocks * percent) / 100)}/${blocks}`;
    if (health === 'failed') return `0 ${size / 512} thin-pool Fail\n`;
    const mode = { metadata_read_only: 'ro', out_of_data: 'out_of_data_space' }[health] ?? 'rw';
    const figures = `${of(metadata, extent / 4096)} ${of(fill, size / chunkSize)}`;
    return `0 ${size / 512} thin-pool 1 ${figures} - ${mode} discard_passdown error_if_no_space - 256 \n`;
  }

  /** Free bytes of the group. */
  get free(): number {
    return [...this.volumes.values()].reduce((left, { attr, size }) => (attr.startsWith('V') ? left : left - size), this.size);
  }

  #groupRow() {
    return {
      vg_name: this.group,
      vg_size: String(this.size),
      vg_free: String(this.free),
      vg_extent_size: String(extent),
      vg_missing_pv_count: String(this.missing),
      vg_tags: [...this.groupTags].join(','),
    };
  }

  #row({ name, size, attr, tags, origin, pool, fill, active, invalid, metadata, health }: ModelledVolume) {
    const snapshot = attr.startsWith('s');
    const thin = attr.startsWith('V');
    const isPool = attr.startsWith('t');
    return {
      lv_name: name,
      lv_uuid: `uuid-${this.#nextUuid++}`,
      lv_size: String(size),
      lv_attr: attr,
      lv_tags: tags.join(','),
      lv_active: active ? 'active' : '',
      lv_device_open: this.openCount > 0 ? 'open' : '',
      lv_snapshot_invalid: snapshot ? (invalid ? 'snapshot invalid' : '') : 'unknown',
      lv_health_status: health,
      origin,
      origin_size: snapshot ? String(this.volumes.get(origin)?.size ?? 0) : '',
      pool_lv: pool,
      data_percent: snapshot || thin || (isPool && active) ? fill.toFixed(2) : '',
      metadata_percent: isPool ? metadata.toFixed(2) : '',
      lv_metadata_size: isPool ? String(extent) : '',
      lv_when_full: isPool ? 'error' : '',
    };
  }
}

const segmentRow = ({ name, attr, zeroes, discards, chunkSize }: ModelledVolume) => ({
  chunk_size: attr.startsWith('t') ? String(chunkSize) : '0',
  zero: attr.startsWith('t') ? (zeroes ? 'zero' : '') : 'unknown',
  discards: attr.startsWith('t') ? discards : '',
  thin_id: attr.startsWith('V') ? '7' : '',
  lv_name: name,
});
