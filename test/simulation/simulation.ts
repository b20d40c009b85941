import { ScoriaError } from '@scoria/core';
import { faultsAtRest, type Rested, unended } from './at-rest.ts';
import { member, projects, root } from './callers.ts';
import { olderMachine } from './attaching-clients.ts';
import { Clients, takenOverName } from './clients.ts';
import { stampsOf } from './content-oracle.ts';
import type { Plan } from './plan.ts';
import { type Sabotage, unit, unitsOfArray, World } from './world.ts';

/** What a run came to. */
export interface Verdict {
  /** What was found wrong; empty when all is well. */
  readonly findings: readonly string[];
  /** Digest of everything that happened: the same for the same plan. */
  readonly trace: string;
}

/** Time that everything that was promised has to come to its end once nothing fails any more, ms. */
const recovery = 1_800_000;

/** Time in which the reconciler has seen, marked and removed what is left, ms. */
const reconciliation = 2_400_000;

/** Runs a plan to its end, or to the first thing that is wrong. */
export async function simulate(plan: Plan, sabotage: Sabotage = {}): Promise<Verdict> {
  const world = new World(plan, sabotage);
  const clients = new Clients(world);
  try {
    await world.start();
    const start = world.time.now;
    for (const action of plan.actions) {
      await world.time.pass(start + action.at);
      await inspect(world, clients);
      if (world.findings.length > 0) break;
      // Answers come when they come, or never: a process may die over a request.
      clients.act(action).catch((error: unknown) => world.find(`${action.kind}: ${String(error)}`));
      await world.time.settled();
    }
    if (world.findings.length === 0) await recover(world, clients);
    if (world.findings.length === 0) await endDisconnected(world, clients);
    if (world.findings.length === 0) await rest(world, clients);
  } catch (error) {
    world.find(String(error));
  }
  const trace = await traceOf(world);
  await world.close();
  return { findings: world.findings, trace };
}

/** What must hold at every moment. */
async function inspect(world: World, clients: Clients): Promise<void> {
  await clients.look();
  const { reading } = world.store;
  const accesses = new Set((await reading.accesses.all()).map(({ id }) => id));
  for (const id of world.target.exports.keys()) {
    // A process that starts publishes what was open, and takes back what its twin has ended meanwhile.
    const takenBack = world.twins && world.target.ended.has(id);
    if (!accesses.has(id) && !takenBack) world.find(`the target of access ${id} lives, and the access does not`);
  }
  // What is taken over has its space already, also when all the rest was promised to others meanwhile.
  const takenOver = new Map<string, number>();
  for (const { name, placementId } of await reading.volumes.list('every-project', { limit: 1000 })) {
    if (name !== takenOverName || placementId === null) continue;
    const { backendId, claimed } = await reading.placements.get(placementId);
    takenOver.set(backendId, (takenOver.get(backendId) ?? 0) + claimed);
  }
  for (const { backendId, claimed } of await reading.placements.claims()) {
    const promised = claimed - (takenOver.get(backendId) ?? 0);
    if (promised > unitsOfArray * unit) {
      world.find(`backend ${backendId} has ${promised / unit} units promised of ${unitsOfArray}`);
    }
  }
}

/** Nothing fails any more, every process is there: what was promised comes to its end. */
async function recover(world: World, clients: Clients): Promise<void> {
  world.faults.active = false;
  clients.stop();
  for (const seat of world.seats) {
    seat.process?.resume();
    if (seat.process) seat.process.skew = 0;
  }
  const quiet = async () => {
    await clients.look();
    const complete = world.seats.every(({ process, storage }) => process?.dead === false && storage !== null);
    return complete && clients.promised.length === 0 && (await unended(world.store)).length === 0;
  };
  await world.time.until(quiet, recovery, 'The end of every operation');
  // What is late, or was delayed, has its time.
  await world.time.drive(world.time.sleep(120_000));
  await world.time.until(quiet, recovery, 'The end of every operation');
  await inspect(world, clients);
}

/**
 * Whoever ended a connection by itself, and was not answered, ends the attachment too; and so does who noted by the older
 * calls that a machine has a volume whose connection somebody else had ended meanwhile.
 */
async function endDisconnected({ store, seats, time }: World, { attaching }: Clients): Promise<void> {
  for (const { id, accessId, projectId, instanceId, volumeId } of await store.reading.attachments.list('every-project', {
    limit: 1000,
  })) {
    const { storage } = seats.find((seat) => seat.storage !== null) ?? {};
    const older = attaching.disconnected.has(volumeId) || instanceId?.startsWith(olderMachine);
    if (accessId === null && older && storage) await time.drive(storage.attachments.delete(member(projectId), id));
  }
}

async function rest(world: World, clients: Clients): Promise<void> {
  const storages = world.seats.flatMap(({ storage, roles }) => (storage && roles.includes('volume') ? [storage] : []));
  const [anyone] = storages;
  if (!anyone) throw new Error('Nobody is there');
  const { time, store } = world;
  const rested: Rested = {
    store,
    projects,
    audits: () => Promise.all(storages.map((storage) => time.drive(storage.audits.run(root)))),
    usage: async (projectId) => (await time.drive(anyone.quotas.get(root, projectId))).usage,
    objects: async () => world.objects(),
    exports: () => world.target.exports.values(),
    contentFault: async (id, placement) => {
      const image = world.read(placement);
      const stamps = image && stampsOf(image);
      if (!stamps) return 'there are none';
      const history = clients.histories.of(id);
      if (history && !history.held(stamps, history.length, history.length)) return stamps.join();
      const captured = clients.captured.get(id);
      return captured && captured.join() !== stamps.join() ? `${stamps.join()}, not ${captured.join()}` : null;
    },
  };
  let faults = await faultsAtRest(rested);
  if (faults.length > 0 && !world.faults.gentle) {
    // What failed for good while it was undone is left to the reconciler.
    await time.pass(time.now + reconciliation);
    await time.until(async () => (await unended(store)).length === 0, recovery, 'The end of every operation');
    faults = await faultsAtRest(rested);
  }
  for (const fault of [...faults, ...clients.released.faults()]) world.find(fault);
  const names = (await store.reading.volumes.list('every-project', { limit: 1000 })).map(({ name }) => name);
  for (const name of names) {
    if (name?.startsWith('once-') && names.indexOf(name) !== names.lastIndexOf(name)) world.find(`${name} was made twice`);
  }
  if (faults.length === 0) await removeAll(world);
}

/** Everything can be removed by those whose it is, and leaves nothing. */
async function removeAll(world: World): Promise<void> {
  const { time, store } = world;
  for (const { id, projectId, volumeId } of await store.reading.attachments.list('every-project', { limit: 1000 })) {
    const { hostString } = await store.reading.volumes.get('every-project', volumeId);
    const seat = world.seats.find(({ host }) => host === (hostString?.includes('@c') ? 'volume-2' : 'volume-1'));
    if (seat?.storage) await time.drive(seat.storage.attachments.delete(member(projectId), id));
  }
  const [{ storage }] = world.seats.filter((seat) => seat.storage !== null) as [(typeof world.seats)[number]];
  for (const { id, projectId } of await store.reading.volumes.list('every-project', { limit: 1000 })) {
    if (!storage) continue;
    try {
      const { operationId } = await time.drive(storage.volumes.delete(member(projectId), id, { cascade: true }));
      await time.drive(storage.operations.wait(operationId, 600_000));
    } catch (error) {
      world.find(`volume ${id} cannot be deleted: ${ScoriaError.from(error).message}`);
    }
  }
  const [left] = world.objects().keys();
  if (left !== undefined) world.find(`${left} is on an array after everything was deleted`);
  if (world.target.exports.size > 0) world.find('something is published after everything was deleted');
  for (const { backendId, claimed } of await store.reading.placements.claims()) {
    if (claimed > 0) world.find(`backend ${backendId} has claims after everything was deleted`);
  }
}

async function traceOf(world: World): Promise<string> {
  const events = await world.store.reading.events.after('every-project', 0, 10_000).catch(() => []);
  const lines = events.map(({ name, payload }) => `${name} ${JSON.stringify(payload)}`);
  let hash = 0;
  for (const line of lines) for (const character of line) hash = (Math.imul(hash, 31) + character.charCodeAt(0)) >>> 0;
  return `${lines.length}-${hash.toString(16)}`;
}
