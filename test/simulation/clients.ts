import { type BlockStorage, hasEnded, type Placement, ScoriaError, type Snapshot, type Volume } from '@scoria/core';
import { z } from 'zod';
import { AttachingClients } from './attaching-clients.ts';
import { blocks, spacing, stampOf, type Stamps, stampsOf, stampsWithin, WriteHistory } from './content-oracle.ts';
import { administrator, member, projects, root } from './callers.ts';
import type { Action, ActionKind } from './plan.ts';
import { ReleasedVolumes } from './released-volumes.ts';
import { SeededRandom } from './seeded-random.ts';
import { trespasses } from './trespassing.ts';
import { WriteHistories } from './write-histories.ts';
import { WritingHosts } from './writing-hosts.ts';
import { type Seat, unit, type World } from './world.ts';

/** Name of volumes that were taken over. */
export const takenOverName = 'taken over';

/** An operation that was promised, and what is to be looked at when it has ended. */
interface Promised {
  readonly operationId: string;
  ended(succeeded: boolean): Promise<void>;
}

const everything = { limit: 1000 };
const unmanaging = z.object({ placementId: z.string().nullable() });

/** Clients of two projects who do what a plan says, remember what they were promised, and look whether it is kept. */
export class Clients implements Acting {
  readonly promised: Promised[] = [];
  readonly histories = new WriteHistories();
  /** What snapshots hold since they were finished. */
  readonly captured = new Map<string, Stamps>();
  /** Volumes that were let go. */
  readonly released: ReleasedVolumes;
  readonly attaching: AttachingClients;
  readonly #world: World;
  readonly #hosts: WritingHosts;
  /** Volumes that several hosts may use at a time. */
  readonly #shared = new Set<string>();

  constructor(world: World) {
    this.#world = world;
    this.#hosts = new WritingHosts(world);
    this.released = new ReleasedVolumes(world);
    this.attaching = new AttachingClients(world, this.#hosts, {
      call: (random, ask, host) => this.#call(random, ask, host),
      judge: (error) => this.#judge(error),
      volume: (random, project) => this.#volume(random, project),
    });
    world.target.onWrite = ({ accessId, volumeId, offset, data }) => {
      this.histories.note(volumeId, offset / spacing, stampOf(data));
      if (this.attaching.ended.has(accessId))
        world.find(`a write of access ${accessId} reached volume ${volumeId} after its detach returned`);
      const initiators = new Set(
        [...world.target.exports.values()].filter((each) => each.volumeId === volumeId).map(({ initiator }) => initiator),
      );
      if (initiators.size > 1 && !this.#shared.has(volumeId))
        world.find(`volume ${volumeId} is published to ${initiators.size} hosts`);
    };
  }

  /** Does one thing; what it leads to comes later. */
  async act(action: Action): Promise<void> {
    const random = new SeededRandom(action.choice);
    const project = projects[random.below(projects.length)] ?? 'red';
    await this[action.kind](random, project);
  }

  /** No more writes. */
  stop(): void {
    this.#hosts.stop();
  }

  /** Looks after the operations that have ended since the last look. */
  async look(): Promise<void> {
    for (const promised of this.promised.splice(0)) {
      const operation = await this.#world.store.reading.operations.get('every-project', promised.operationId).catch(() => null);
      if (!operation) this.#world.find(`operation ${promised.operationId} was promised and is not known`);
      else if (hasEnded(operation.status)) await promised.ended(operation.status === 'succeeded');
      else this.promised.push(promised);
    }
  }

  async create(random: SeededRandom, project: string): Promise<void> {
    const size = (1 + random.below(4)) * unit;
    const multiattach = random.chance(0.1);
    this.#made(await this.#call(random, (storage) => storage.volumes.create(member(project), { size, multiattach })), async () =>
      new Array<number>(blocks).fill(0),
    );
  }

  /** The same request twice, perhaps to two processes. */
  async createOnce(random: SeededRandom, project: string): Promise<void> {
    const key = `once-${random.next()}`;
    const context = { ...member(project), idempotency: { key, fingerprint: key } };
    const send = () =>
      this.#call(random, (storage) => storage.volumes.create(context, { size: unit, name: key })).catch(() => null);
    const twice = await Promise.all([send(), send()]);
    const answers = twice.filter((answer) => answer !== null);
    for (const answer of answers) this.#made(answer, async () => new Array<number>(blocks).fill(0));
  }

  async clone(random: SeededRandom, project: string): Promise<void> {
    const source = await this.#volume(random, project, ({ status }) => status === 'available' || status === 'in-use');
    if (!source) return;
    const history = this.histories.of(source.id);
    const from = history?.length ?? 0;
    const begun = await this.#call(random, (storage) => storage.volumes.create(member(project), { sourceVolumeId: source.id }));
    this.#made(begun, async (stamps) => {
      if (history && !history.held(stamps, from, history.length)) {
        this.#world.find(`clone ${begun?.volume.id} holds ${stamps.join()}, which ${source.id} never held meanwhile`);
      }
      return stamps;
    });
  }

  async createFromSnapshot(random: SeededRandom, project: string): Promise<void> {
    const source = await this.#snapshot(random, project);
    if (!source) return;
    const content = this.captured.get(source.id);
    const begun = await this.#call(random, (storage) =>
      storage.volumes.create(member(project), { snapshotId: source.id, size: source.size + random.below(2) * unit }),
    );
    this.#made(begun, async (stamps) => {
      if (content && content.join() !== stamps.join()) {
        this.#world.find(`volume ${begun?.volume.id} holds ${stamps.join()}, its snapshot ${content.join()}`);
      }
      return stamps;
    });
  }

  async extend(random: SeededRandom, project: string): Promise<void> {
    const volume = await this.#volume(random, project);
    if (volume) await this.#grow(random, project, volume.id, volume.size + (1 + random.below(4)) * unit);
  }

  async revert(random: SeededRandom, project: string): Promise<void> {
    const snapshot = await this.#snapshot(random, project);
    if (!snapshot) return;
    const { volumeId } = snapshot;
    const content = this.captured.get(snapshot.id);
    if (!this.histories.of(volumeId)) return;
    const begun = await this.histories.changing(volumeId, () =>
      this.#call(random, (storage) => storage.volumes.revert(member(project), volumeId, snapshot.id)),
    );
    this.#promise(begun, async (succeeded) => {
      if (succeeded && content && !this.histories.missedWrites(volumeId))
        this.histories.begin(volumeId, new WriteHistory(content));
    });
  }

  /** Makes a volume smaller; now and then without the confirmation that this takes. */
  async shrink(random: SeededRandom, project: string): Promise<void> {
    const large = ({ size, status }: Volume) => size > unit && status === 'available';
    const hasEnd = ({ id }: Volume) => this.histories.of(id)?.present.some((stamp, block) => block > 0 && stamp > 0) ?? false;
    const volume =
      (await this.#volume(random, project, (each) => large(each) && hasEnd(each))) ??
      (await this.#volume(random, project, large));
    const before = volume && this.histories.of(volume.id);
    if (!before) return;
    const { id } = volume;
    const size = (1 + random.below(hasEnd(volume) ? 1 : volume.size / unit - 1)) * unit;
    const confirmation = random.chance(0.1) ? undefined : id;
    const begun = await this.histories.changing(id, () =>
      this.#call(random, (storage) => storage.volumes.shrink(member(project), id, size, confirmation)),
    );
    if (begun && confirmation === undefined) this.#world.find(`volume ${id} becomes smaller, and nobody has confirmed that`);
    this.#promise(begun, async (succeeded) => {
      const stamps = await this.#stamps('volumes', id);
      if (!stamps || this.histories.missedWrites(id)) return;
      const [whole, rest] = [before.present, stampsWithin(before.present, size)];
      // Whatever has failed, the end of the volume may be gone.
      const expected = succeeded ? [rest] : [whole, rest];
      if (!expected.some((each) => each.join() === stamps.join())) {
        this.#world.find(`volume ${id} held ${whole.join()} and holds ${stamps.join()} since it was made smaller`);
      }
      this.histories.begin(id, new WriteHistory(stamps));
      // What was cut off must not come back when it grows again.
      if (this.#hosts.writing) this.#grow(random, project, id, volume.size).catch((error: unknown) => this.#judge(error));
    });
  }

  /** Lets go of a volume, which stays on its array. */
  async unmanage(random: SeededRandom, project: string): Promise<void> {
    const volume = await this.#volume(random, project);
    const before = volume && this.histories.of(volume.id);
    if (!before) return;
    const { id } = volume;
    const begun = await this.histories.changing(id, () =>
      this.#call(random, (storage) => storage.managedVolumes.unmanage(root, id)),
    );
    if (!begun) return;
    const { input } = await this.#world.store.reading.operations.get('every-project', begun.operationId);
    const { placementId } = unmanaging.parse(input);
    this.#promise(begun, async (succeeded) => {
      if (!succeeded || placementId === null) return;
      const left = await this.#world.store.reading.volumes.list('every-project', everything);
      if (left.some((each) => each.id === id)) this.#world.find(`volume ${id} was let go and is still in the store`);
      this.released.add(placementId, this.histories.missedWrites(id) ? null : before.present);
    });
  }

  /** Takes over something that lies on an array as nobody's. */
  async manage(random: SeededRandom, project: string): Promise<void> {
    const arrays = Object.entries(this.#world.arrays).filter(([, { foreign }]) => foreign.size > 0);
    const [array] = arrays[random.below(Math.max(1, arrays.length))] ?? [];
    if (array === undefined) return;
    const seat = array === 'c' ? 'volume-2' : 'volume-1';
    const host = `${seat}@${array}`;
    const context = administrator(project);
    const listed = await this.#call(random, (storage) => storage.managedVolumes.list(context, host), seat);
    const free = (listed ?? []).filter(({ refusal }) => refusal === null);
    const found = free[random.below(Math.max(1, free.length))];
    if (!found) return;
    const { reference } = found;
    const content = this.released.take(reference);
    const begun = await this.#call(random, (storage) =>
      storage.managedVolumes.manage(context, { host, reference, name: takenOverName }),
    );
    this.#made(begun, async (stamps) => {
      if (content && content.join() !== stamps.join()) {
        this.#world.find(`volume ${begun?.volume.id} holds ${stamps.join()}, and was let go with ${content.join()}`);
      }
      return stamps;
    });
  }

  async migrate(random: SeededRandom, project: string): Promise<void> {
    const volume = await this.#volume(random, project);
    if (!volume) return;
    const to = volume.hostString?.includes('@a') ? 'volume-1@b' : 'volume-1@a';
    const options = { lock: random.chance(0.5) };
    this.#promise(await this.#call(random, (storage) => storage.moves.migrate(root, volume.id, to, options), 'volume-1'));
  }

  async snapshot(random: SeededRandom, project: string): Promise<void> {
    const volume = await this.#volume(random, project);
    if (!volume) return;
    const history = this.histories.of(volume.id);
    const from = history?.length ?? 0;
    const begun = await this.#call(random, (storage) =>
      storage.snapshots.create(member(project), { volumeId: volume.id, force: true }),
    );
    this.#promise(begun, async (succeeded) => {
      if (!succeeded || !begun) return;
      const stamps = await this.#stamps('snapshots', begun.snapshot.id);
      if (!stamps) return;
      this.captured.set(begun.snapshot.id, stamps);
      if (history && !history.held(stamps, from, history.length)) {
        this.#world.find(`snapshot ${begun.snapshot.id} holds ${stamps.join()}, which ${volume.id} never held meanwhile`);
      }
    });
  }

  async deleteSnapshot(random: SeededRandom, project: string): Promise<void> {
    const snapshot = await this.#snapshot(random, project);
    if (snapshot) this.#promise(await this.#call(random, (storage) => storage.snapshots.delete(member(project), snapshot.id)));
  }

  async deleteVolume(random: SeededRandom, project: string): Promise<void> {
    const volume = await this.#volume(random, project);
    if (!volume) return;
    const options = random.chance(0.2) ? { force: true, cascade: true } : { cascade: random.chance(0.5) };
    const context = options.force ? root : member(project);
    this.#promise(await this.#call(random, (storage) => storage.volumes.delete(context, volume.id, options)));
  }

  attach(random: SeededRandom, project: string): Promise<void> {
    return this.attaching.attach(random, project);
  }

  attachOlder(random: SeededRandom, project: string): Promise<void> {
    return this.attaching.attachOlder(random, project);
  }

  detach(random: SeededRandom, project: string): Promise<void> {
    return this.attaching.detach(random, project);
  }

  detachOlder(random: SeededRandom, project: string): Promise<void> {
    return this.attaching.detachOlder(random, project);
  }

  async cancel(random: SeededRandom, project: string): Promise<void> {
    const running = await this.#world.store.reading.operations.list(
      { projectId: project },
      { where: [{ field: 'status', op: 'eq', value: 'running' }] },
    );
    const operation = running[random.below(Math.max(1, running.length))];
    if (operation) await this.#call(random, (storage) => storage.operations.cancel(member(project), operation.id));
  }

  /** Tries to touch what is another project's. */
  async trespass(random: SeededRandom, project: string): Promise<void> {
    const other = projects.find((each) => each !== project) ?? '';
    const volume = await this.#volume(random, other);
    const snapshot = await this.#snapshot(random, other);
    const me = member(project);
    const attempts = trespasses(me, volume, snapshot);
    const attempt = attempts[random.below(Math.max(1, attempts.length))];
    if (attempt) {
      await this.#call(random, async (storage) => {
        await attempt(storage);
        this.#world.find(`project ${project} touched what is of project ${other}`);
      });
    }
    await this.#call(random, async (storage) => {
      const seen = await storage.volumes.list(me, everything);
      if (seen.some(({ projectId }) => projectId !== project)) this.#world.find(`project ${project} lists volumes of ${other}`);
    });
  }

  async kill(random: SeededRandom): Promise<void> {
    const seat = this.#world.seats[random.below(this.#world.seats.length)];
    if (seat) this.#world.kill(seat, 500 + random.below(30_000));
  }

  async pause(random: SeededRandom): Promise<void> {
    const process = this.#world.seats[random.below(this.#world.seats.length)]?.process;
    process?.pause();
    this.#world.time.schedule(random.below(45_000), () => process?.resume());
  }

  async jump(random: SeededRandom): Promise<void> {
    const process = this.#world.seats[random.below(this.#world.seats.length)]?.process;
    if (process) process.skew = random.below(120_000) - 60_000;
  }

  /** Asks a process, if one is there. Refusals are answers; errors that are bugs are findings. */
  async #call<T>(random: SeededRandom, ask: (storage: BlockStorage) => Promise<T>, host?: string): Promise<T | null> {
    const seats = this.#world.seats.filter((seat): seat is Seat & { readonly storage: BlockStorage } => {
      return seat.storage !== null && (host === undefined || seat.host === host);
    });
    const seat = seats[random.below(Math.max(1, seats.length))];
    if (!seat) return null;
    try {
      return await ask(seat.storage);
    } catch (error) {
      this.#judge(error);
      return null;
    }
  }

  #judge(error: unknown): void {
    const { code, message } = ScoriaError.from(error);
    if (code === 'internal') this.#world.find(`a client met an internal error: ${message}`);
  }

  #promise(begun: { readonly operationId: string } | null, ended: Promised['ended'] = async () => {}): void {
    if (begun) this.promised.push({ operationId: begun.operationId, ended });
  }

  /** A new volume was promised; `check` judges what it holds and says what it is to hold from then on. */
  #made(
    begun: { readonly volume: Volume; readonly operationId: string } | null,
    check: (stamps: Stamps) => Promise<Stamps>,
  ): void {
    this.#promise(begun, async (succeeded) => {
      if (!succeeded || !begun || this.histories.of(begun.volume.id)) return;
      const stamps = await this.#stamps('volumes', begun.volume.id);
      if (!stamps) return;
      const base = await check(stamps);
      if (base.join() !== stamps.join()) this.#world.find(`volume ${begun.volume.id} holds ${stamps.join()}, not ${base.join()}`);
      if (begun.volume.multiattach) this.#shared.add(begun.volume.id);
      this.histories.begin(begun.volume.id, new WriteHistory(base));
    });
  }

  async #grow(random: SeededRandom, project: string, id: string, size: number): Promise<void> {
    this.#promise(await this.#call(random, (storage) => storage.volumes.extend(member(project), id, size)));
  }

  /** What a volume or snapshot holds now; `null` when it is gone meanwhile. */
  async #stamps(kind: 'volumes' | 'snapshots', id: string): Promise<Stamps | null> {
    const { reading } = this.#world.store;
    const row: Volume | Snapshot | null = await reading[kind].get('every-project', id).catch(() => null);
    if (row?.placementId === null || row?.placementId === undefined || row.status === 'deleting') return null;
    const placement: Placement = await reading.placements.get(row.placementId);
    const image = this.#world.read(placement);
    return image && stampsOf(image);
  }

  /** Some volume whose creation has been seen to end. */
  async #volume(
    random: SeededRandom,
    project: string,
    fits: (volume: Volume) => boolean = () => true,
  ): Promise<Volume | undefined> {
    const volumes = await this.#world.store.reading.volumes.list({ projectId: project }, everything);
    const known = volumes.filter((volume) => this.histories.of(volume.id) && fits(volume));
    return known[random.below(Math.max(1, known.length))];
  }

  async #snapshot(random: SeededRandom, project: string): Promise<Snapshot | undefined> {
    const snapshots = await this.#world.store.reading.snapshots.list({ projectId: project }, everything);
    return snapshots[random.below(Math.max(1, snapshots.length))];
  }
}

/** Every kind of action has its method. */
type Acting = Record<ActionKind, (random: SeededRandom, project: string) => Promise<void>>;
