import type { Attachment, BlockStorage, Volume } from '@scoria/core';
import { member } from './callers.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { World } from './world.ts';
import type { WritingHosts } from './writing-hosts.ts';

const hosts = ['iqn.2026-11.test:h1', 'iqn.2026-11.test:h2', 'iqn.2026-11.test:h3'];
const everything = { limit: 1000 };

/** What the names of machines begin with that attach by the older calls. */
export const olderMachine = 'older-';

/** How clients ask. */
export interface Asking {
  /** Asks a process, of a host when one is named; `null` when it refuses or is not there. */
  call<T>(random: SeededRandom, ask: (storage: BlockStorage) => Promise<T>, host: string): Promise<T | null>;
  /** Says whether an error may be. */
  judge(error: unknown): void;
  /** Some volume of a project. */
  volume(random: SeededRandom, project: string): Promise<Volume | undefined>;
}

/** Host of the process that serves a volume. */
const seatOf = ({ hostString }: Volume) => (hostString?.includes('@c') ? 'volume-2' : 'volume-1');

/** Clients that attach volumes to hosts, which write for as long as they can, and detach them, in either way of the API. */
export class AttachingClients {
  /** Accesses whose end was reported to a client. */
  readonly ended = new Set<string>();
  /** Volumes whose connections were ended by themselves. */
  readonly disconnected = new Set<string>();
  readonly #world: World;
  readonly #hosts: WritingHosts;
  readonly #asking: Asking;

  constructor(world: World, hosts: WritingHosts, asking: Asking) {
    this.#world = world;
    this.#hosts = hosts;
    this.#asking = asking;
  }

  /** Attaches a volume, whose host then writes for as long as it can. */
  async attach(random: SeededRandom, project: string): Promise<void> {
    const volume = await this.#asking.volume(random, project);
    if (!volume) return;
    const initiator = hosts[random.below(hosts.length)] ?? '';
    const instanceId = `machine-${random.next()}`;
    const session = await this.#asking.call(
      random,
      async (storage) => {
        const context = member(project);
        const request = { volumeId: volume.id, instanceId, connector: { initiator, host: initiator } };
        const { id, accessId } = await storage.attachments.create(context, request);
        const info = await storage.attachments.connectionInfo(context, id);
        await storage.attachments.complete(context, id);
        return this.#world.target.login(accessId ?? '', String(info?.data['secret']), initiator);
      },
      seatOf(volume),
    );
    if (session) this.#hosts.write(session, volume.id).catch((error: unknown) => this.#asking.judge(error));
  }

  /** The same by the older calls of the API; now and then the reservation alone. */
  async attachOlder(random: SeededRandom, project: string): Promise<void> {
    const volume = await this.#asking.volume(random, project);
    if (!volume) return;
    const initiator = hosts[random.below(hosts.length)] ?? '';
    const [context, instanceId, reserves] = [member(project), `${olderMachine}${random.next()}`, random.chance(0.5)];
    const session = await this.#asking.call(
      random,
      async ({ connections }) => {
        if (reserves) await connections.reserve(context, volume.id);
        if (reserves && random.chance(0.2)) return connections.unreserve(context, volume.id);
        const { data } = await connections.initializeConnection(context, volume.id, { initiator, host: initiator });
        await connections.attach(context, volume.id, { instanceId, hostName: initiator });
        return this.#world.target.login(String(data['accessId']), String(data['secret']), initiator);
      },
      seatOf(volume),
    );
    if (session) this.#hosts.write(session, volume.id).catch((error: unknown) => this.#asking.judge(error));
  }

  async detach(random: SeededRandom, project: string): Promise<void> {
    await this.#detach(random, project, (storage, { id }) => storage.attachments.delete(member(project), id));
  }

  /** The same by the older calls, sometimes without waiting for the first. */
  async detachOlder(random: SeededRandom, project: string): Promise<void> {
    await this.#detach(random, project, async ({ connections }, { id, volumeId, connector }) => {
      const [context, waits] = [member(project), random.chance(0.7)];
      if (connector) this.disconnected.add(volumeId);
      const terminated = connector && connections.terminateConnection(context, volumeId, connector);
      if (waits) await terminated;
      else terminated?.catch((error: unknown) => this.#asking.judge(error));
      await connections.detach(context, volumeId, { attachmentId: id });
    });
  }

  /** Ends some attachment, and looks whether it is really gone when the call returns. */
  async #detach(
    random: SeededRandom,
    project: string,
    end: (storage: BlockStorage, attachment: Attachment) => Promise<void>,
  ): Promise<void> {
    const { reading } = this.#world.store;
    const attachments = await reading.attachments.list({ projectId: project }, everything);
    const attachment = attachments[random.below(Math.max(1, attachments.length))];
    if (!attachment) return;
    const volume = await reading.volumes.get('every-project', attachment.volumeId);
    const detached = await this.#asking.call(random, (storage) => end(storage, attachment).then(() => true), seatOf(volume));
    if (!detached) return;
    const left = await reading.attachments.list({ projectId: project }, everything);
    if (left.some(({ id }) => id === attachment.id)) this.#world.find(`attachment ${attachment.id} outlives its detach`);
    if (attachment.accessId === null) return;
    const accesses = await reading.accesses.all();
    if (!accesses.some(({ id }) => id === attachment.accessId)) this.ended.add(attachment.accessId);
  }
}
