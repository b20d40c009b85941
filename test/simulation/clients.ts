import {
  type BlockStorage,
  hasEnded,
  type Placement,
  type RequestContext,
  ScoriaError,
  type Snapshot,
  type Volume,
} from '@scoria/core';
import { blocks, blockSize, stamped, type Stamps, stampsOf, WriteHistory } from './content-oracle.ts';
import type { InitiatorSession } from './modelled-target.ts';
import type { Action, ActionKind } from './plan.ts';
import { SeededRandom } from './seeded-random.ts';
import { type Seat, unit, type World } from './world.ts';

/** The projects that share the cluster. */
export const projects = ['red', 'blue'] as const;
const hosts = ['iqn.2026-11.test:h1', 'iqn.2026-11.test:h2', 'iqn.2026-11.test:h3'];

/** The caller of a project. */
export function member(projectId: string): RequestContext {
  return { requestId: `req-${projectId}`, userId: projectId, projectId, roles: ['member'], isAdmin: false };
}
/** An administrator. */
export const root: RequestContext = { ...member('root'), roles: ['admin'], isAdmin: true };

/** An operation that was promised, and what is to be looked at when it has ended. */
interface Promised {
  readonly operationId: string;
  ended(succeeded: boolean): Promise<void>;
}

const everything = { limit: 1000 };

/** Clients of two projects who do what a plan says, remember what they were promised, and look whether it is kept. */
export class Clients implements Acting {
  readonly promised: Promised[] = [];
  /** What each volume has been written, where that is known. */
  readonly histories = new Map<string, WriteHistory>();
  /** What snapshots hold since they were finished. */
  readonly captured = new Map<string, Stamps>();
  readonly #world: World;
  /** Accesses whose end was reported to a client. */
  readonly #ended = new Set<string>();
  /** Volumes that several hosts may use at a time. */
  readonly #shared = new Set<string>();
  /** Volumes that were written while their history was not known. */
  readonly #unseen = new Set<string>();
  #stamp = 0;
  #writing = true;

  constructor(world: World) {
    this.#world = world;
    world.target.onWrite = ({ accessId, volumeId, offset, data }) => {
      const history = this.histories.get(volumeId);
      if (history) history.add(offset / blockSize, stampsOf(data.subarray(0, blockSize), 1)[0] ?? 0);
      else this.#unseen.add(volumeId);
      if (this.#ended.has(accessId))
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
    this.#writing = false;
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
    const history = this.histories.get(source.id);
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
    if (!volume) return;
    const size = volume.size + (1 + random.below(4)) * unit;
    this.#promise(await this.#call(random, (storage) => storage.volumes.extend(member(project), volume.id, size)));
  }

  async revert(random: SeededRandom, project: string): Promise<void> {
    const snapshot = await this.#snapshot(random, project);
    if (!snapshot) return;
    const { volumeId } = snapshot;
    const content = this.captured.get(snapshot.id);
    const history = this.histories.get(volumeId);
    if (!history) return;
    // Until its end is seen nobody knows what the volume holds.
    this.histories.delete(volumeId);
    this.#unseen.delete(volumeId);
    const begun = await this.#call(random, (storage) => storage.volumes.revert(member(project), volumeId, snapshot.id));
    if (!begun && !this.#unseen.has(volumeId)) this.histories.set(volumeId, history);
    this.#promise(begun, async (succeeded) => {
      if (succeeded && content && !this.#unseen.has(volumeId)) this.histories.set(volumeId, new WriteHistory(content));
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
    const history = this.histories.get(volume.id);
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

  /** Attaches a volume, whose host then writes for as long as it can. */
  async attach(random: SeededRandom, project: string): Promise<void> {
    const volume = await this.#volume(random, project);
    if (!volume) return;
    const initiator = hosts[random.below(hosts.length)] ?? '';
    const instanceId = `machine-${random.next()}`;
    const seat = volume.hostString?.includes('@c') ? 'volume-2' : 'volume-1';
    const session = await this.#call(
      random,
      async (storage) => {
        const context = member(project);
        const request = { volumeId: volume.id, instanceId, connector: { initiator, host: initiator } };
        const { id, accessId } = await storage.attachments.create(context, request);
        const info = await storage.attachments.connectionInfo(context, id);
        await storage.attachments.complete(context, id);
        return this.#world.target.login(accessId ?? '', String(info?.data['secret']), initiator);
      },
      seat,
    );
    if (session) this.#write(session).catch((error: unknown) => this.#judge(error));
  }

  async detach(random: SeededRandom, project: string): Promise<void> {
    const attachments = await this.#world.store.reading.attachments.list({ projectId: project }, everything);
    const attachment = attachments[random.below(Math.max(1, attachments.length))];
    if (!attachment) return;
    const { hostString } = await this.#world.store.reading.volumes.get('every-project', attachment.volumeId);
    const seat = hostString?.includes('@c') ? 'volume-2' : 'volume-1';
    const detached = await this.#call(
      random,
      async (storage) => {
        await storage.attachments.delete(member(project), attachment.id);
        return true;
      },
      seat,
    );
    if (!detached || attachment.accessId === null) return;
    const accesses = await this.#world.store.reading.accesses.all();
    if (!accesses.some(({ id }) => id === attachment.accessId)) this.#ended.add(attachment.accessId);
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
    const attempts: readonly ((storage: BlockStorage) => Promise<unknown>)[] = [
      ...(volume
        ? [
            (storage: BlockStorage) => storage.volumes.get(me, volume.id),
            (storage: BlockStorage) => storage.volumes.delete(me, volume.id),
            (storage: BlockStorage) => storage.volumes.extend(me, volume.id, volume.size + unit),
            (storage: BlockStorage) => storage.volumes.create(me, { sourceVolumeId: volume.id }),
            (storage: BlockStorage) => storage.snapshots.create(me, { volumeId: volume.id, force: true }),
            (storage: BlockStorage) => storage.attachments.create(me, { volumeId: volume.id }),
          ]
        : []),
      ...(snapshot
        ? [
            (storage: BlockStorage) => storage.snapshots.get(me, snapshot.id),
            (storage: BlockStorage) => storage.snapshots.delete(me, snapshot.id),
            (storage: BlockStorage) => storage.volumes.create(me, { snapshotId: snapshot.id }),
          ]
        : []),
    ];
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
      if (!succeeded || !begun || this.histories.has(begun.volume.id)) return;
      const stamps = await this.#stamps('volumes', begun.volume.id);
      if (!stamps) return;
      const base = await check(stamps);
      if (base.join() !== stamps.join()) this.#world.find(`volume ${begun.volume.id} holds ${stamps.join()}, not ${base.join()}`);
      if (begun.volume.multiattach) this.#shared.add(begun.volume.id);
      this.histories.set(begun.volume.id, new WriteHistory(base));
    });
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

  async #write(session: InitiatorSession): Promise<void> {
    const random = new SeededRandom(this.#stamp);
    while (this.#writing) {
      const [block, stamp] = [random.below(blocks), (this.#stamp += 1)];
      try {
        await session.write(stamped(stamp), block * blockSize);
      } catch (error) {
        if (ScoriaError.from(error).code === 'device-gone') return;
        throw error;
      }
      await this.#world.time.sleep(200 + random.below(1_000));
    }
  }

  /** Some volume whose creation has been seen to end. */
  async #volume(
    random: SeededRandom,
    project: string,
    fits: (volume: Volume) => boolean = () => true,
  ): Promise<Volume | undefined> {
    const volumes = await this.#world.store.reading.volumes.list({ projectId: project }, everything);
    const known = volumes.filter((volume) => this.histories.has(volume.id) && fits(volume));
    return known[random.below(Math.max(1, known.length))];
  }

  async #snapshot(random: SeededRandom, project: string): Promise<Snapshot | undefined> {
    const snapshots = await this.#world.store.reading.snapshots.list({ projectId: project }, everything);
    return snapshots[random.below(Math.max(1, snapshots.length))];
  }
}

/** Every kind of action has its method. */
type Acting = Record<ActionKind, (random: SeededRandom, project: string) => Promise<void>>;
