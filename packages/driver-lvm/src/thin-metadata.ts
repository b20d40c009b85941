import { ObjectLocks, ScoriaError, type Extent } from '@scoria/core';
import { ExtentList } from './extent-list.ts';
import type { LogicalVolume } from './logical-volume.ts';
import type { LvmCommands } from './lvm-commands.ts';
import type { VolumeGroup } from './volume-group.ts';

const sector = 512;
/** Longest line of thin_dump or thin_delta that is read, characters. */
const longestLine = 4096;
const attribute = /(\w+)="(\d+)"/g;

/** What one line of the XML of thin_dump(8) or thin_delta(8) says: an element with its figures. */
interface Element {
  readonly name: string;
  readonly figures: ReadonlyMap<string, number>;
}

/** Reads a line; these programs print one element a line. */
function elementOf(line: string): Element | undefined {
  const name = /^\s*<(\w+)/.exec(line.slice(0, longestLine))?.[1];
  if (name === undefined) return undefined;
  const figures = new Map<string, number>();
  for (const [, key = '', value] of line.slice(0, longestLine).matchAll(attribute)) figures.set(key, Number(value));
  return { name, figures };
}

/** Reads extents from the lines of thin_dump(8) and thin_delta(8), as bytes; neighbours are joined. */
export async function* extentsIn(lines: AsyncIterable<string>, limit: number): AsyncGenerator<Extent> {
  let blockSize: number | undefined;
  let pending: { offset: number; length: number } | undefined;
  let ended = false;
  for await (const line of lines) {
    if (line.includes('</superblock>')) ended = true;
    const element = elementOf(line);
    if (element === undefined) continue;
    const { name, figures } = element;
    if (name === 'superblock') blockSize = (figures.get('data_block_size') ?? Number.NaN) * sector;
    const run = runOf(name, figures);
    if (run === undefined) continue;
    if (blockSize === undefined || !Number.isSafeInteger(blockSize))
      throw unreadable('there is no block size before the first block');
    const offset = run.begin * blockSize;
    const length = run.length * blockSize;
    if (!Number.isSafeInteger(offset + length)) throw unreadable(`block ${run.begin} is beyond every device`);
    if (pending && offset < pending.offset + pending.length) throw unreadable('blocks do not ascend');
    if (pending && offset === pending.offset + pending.length) pending.length += length;
    else {
      if (pending) yield* within(pending, limit);
      pending = { offset, length };
    }
  }
  // The programs end with status 0 also when they are cut off.
  if (!ended) throw unreadable('it ends early');
  if (pending) yield* within(pending, limit);
}

function runOf(
  name: string,
  figures: ReadonlyMap<string, number>,
): { readonly begin: number; readonly length: number } | undefined {
  const run = (begin: string, length: number | undefined) => {
    const from = figures.get(begin);
    if (from === undefined || length === undefined) throw unreadable(`an element ${name} lacks its figures`);
    return { begin: from, length };
  };
  switch (name) {
    case 'single_mapping':
      return run('origin_block', 1);
    case 'range_mapping':
      return run('origin_begin', figures.get('length'));
    case 'different':
    case 'left_only':
    case 'right_only':
      return run('begin', figures.get('length'));
    default:
      return undefined;
  }
}

function* within({ offset, length }: Extent, limit: number): Generator<Extent> {
  const end = Math.min(offset + length, limit);
  if (end > offset) yield { offset, length: end - offset };
}

function unreadable(why: string): ScoriaError {
  return new ScoriaError('backend-failed', `The metadata of a thin pool cannot be read: ${why}`, {
    remedy: 'Look at the version of thin-provisioning-tools; 0.7 or later is needed.',
  });
}

/** Reads the metadata of thin pools through a metadata snapshot, one reader a pool (kernel: thin-provisioning.rst). */
export class ThinMetadata {
  readonly #commands: LvmCommands;
  readonly #pool: string;
  readonly #turns = new ObjectLocks();
  /** Groups where nothing of a process before us is left. */
  readonly #released = new Set<string>();

  constructor(commands: LvmCommands, pool: string) {
    this.#commands = commands;
    this.#pool = pool;
  }

  /** Lets go of a metadata snapshot that a crash left. */
  async release(group: VolumeGroup): Promise<void> {
    if (this.#released.has(group.name)) return;
    this.#released.add(group.name);
    // Fails where there is none, which is the usual case.
    await this.#commands.message(this.#device(group), 'release_metadata_snap');
  }

  /** Parts of a thin volume that have blocks. */
  async *allocated(group: VolumeGroup, object: LogicalVolume, signal: AbortSignal): AsyncGenerator<Extent> {
    yield* this.#read(group, signal, object.size, async () => {
      const id = await this.#deviceId(group, object, signal);
      return ['thin_dump', ['--metadata-snap', '--dev-id', id]];
    });
  }

  /** Parts in which two thin volumes of one pool do not share their blocks. */
  async *changed(group: VolumeGroup, from: LogicalVolume, to: LogicalVolume, signal: AbortSignal): AsyncGenerator<Extent> {
    yield* this.#read(group, signal, Math.max(from.size, to.size), async () => {
      const [left, right] = [await this.#deviceId(group, from, signal), await this.#deviceId(group, to, signal)];
      return ['thin_delta', ['--metadata-snap', '--thin1', left, '--thin2', right]];
    });
  }

  /**
   * Reads all before it tells the first: who copies what is told takes hours, and neither the metadata snapshot nor the
   * program may be kept that long.
   */
  async *#read(
    group: VolumeGroup,
    signal: AbortSignal,
    limit: number,
    command: () => Promise<readonly [string, readonly string[]]>,
  ): AsyncGenerator<Extent> {
    yield* await this.#turns.run([group.name], () => this.#readAll(group, signal, limit, command), signal);
  }

  async #readAll(
    group: VolumeGroup,
    signal: AbortSignal,
    limit: number,
    command: () => Promise<readonly [string, readonly string[]]>,
  ): Promise<ExtentList> {
    const [program, args] = await command();
    const device = this.#device(group);
    const found = new ExtentList();
    await this.#reserve(device);
    try {
      const metadata = `/dev/mapper/${group.mapping(`${this.#pool}_tmeta`)}`;
      const lines = this.#commands.metadata(program, [...args, metadata], signal);
      for await (const extent of extentsIn(lines, limit)) found.add(extent);
    } finally {
      await this.#commands.message(device, 'release_metadata_snap');
    }
    return found;
  }

  async #reserve(device: string): Promise<void> {
    const first = await this.#commands.message(device, 'reserve_metadata_snap');
    if (first.exitCode === 0) return;
    // One is there: of a process that died, for ours come one after the other.
    await this.#commands.message(device, 'release_metadata_snap');
    const second = await this.#commands.message(device, 'reserve_metadata_snap');
    if (second.exitCode !== 0) {
      throw new ScoriaError('backend-failed', `Thin pool ${device} gives no snapshot of its metadata: ${second.stderr.trim()}`);
    }
  }

  async #deviceId(group: VolumeGroup, { name }: LogicalVolume, signal: AbortSignal): Promise<string> {
    const { thin_id: id } = await group.report(name, signal);
    if (!/^\d+$/.test(id)) throw new ScoriaError('backend-failed', `LVM tells no thin id of ${group.name}/${name}, but "${id}"`);
    return id;
  }

  /** LVM's name for the device that is the pool itself. */
  #device(group: VolumeGroup): string {
    return `${group.mapping(this.#pool)}-tpool`;
  }
}
