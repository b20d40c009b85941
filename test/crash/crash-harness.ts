import { type BlockStorage, type Operation, ScoriaError } from '@scoria/core';
import { faultsAtRest, type Rested, unended } from '../simulation/at-rest.ts';
import type { JournaledStep, Probe } from '../simulation/simulated-process.ts';
import type { Outcome, Scenario } from './scenario.ts';
import { alice, root, type Running, type Site } from './site.ts';

/** A moment in the life of an operation at which its process can die. */
export interface CrashPoint {
  readonly moment: 'before' | 'after';
  /** A verb, or `commit`. */
  readonly what: string;
  /** What the journal says of it: for a commit what it writes, for a verb what was under way. */
  readonly steps: readonly JournaledStep[];
}

/** What is done to one verb, counted from the beginning of the operation. */
export type VerbFault = 'fails for good' | 'fails once' | 'loses its reply' | 'runs twice' | 'is late' | 'is late with its reply';
/** See {@link VerbFault}. */
export const verbFaults: readonly VerbFault[] = [
  'fails for good',
  'fails once',
  'loses its reply',
  'runs twice',
  'is late',
  'is late with its reply',
];

/** What becomes of a transaction. */
export type TransactionFate = ReturnType<NonNullable<Probe['transaction']>>;

/** Time in which the reconciler has seen, marked and removed what is left, ms. */
const reconciliation = 400_000;
const longest = 900_000;

/** Runs one scenario again and again on one site, each time with another crash or fault, and checks what it leaves. */
export class CrashHarness {
  readonly #site: Site;
  readonly #scenario: Scenario;

  constructor(site: Site, scenario: Scenario) {
    this.#site = site;
    this.#scenario = scenario;
  }

  /** Runs the scenario undisturbed. Returns every point at which it could have died, its verbs, and the number of its transactions. */
  async record(): Promise<{
    readonly points: readonly CrashPoint[];
    readonly verbs: readonly string[];
    readonly transactions: number;
  }> {
    const points: CrashPoint[] = [];
    const verbs: string[] = [];
    let transactions = 0;
    let steps: readonly JournaledStep[] = [];
    await this.#run(
      (_running) => ({
        verb: async (name, proceed) => {
          const under = steps;
          verbs.push(name);
          points.push({ moment: 'before', what: name, steps: under });
          return this.#broken(name, proceed).finally(() => points.push({ moment: 'after', what: name, steps: under }));
        },
        commit: (moment, written) => {
          if (moment === 'after') steps = written.filter((step) => / (start|undo)$/.test(step));
          points.push({ moment, what: 'commit', steps: written });
        },
        transaction: () => {
          transactions += 1;
          return 'once';
        },
      }),
      this.#scenario.broken ? 'undone' : 'done',
    );
    return { points, verbs, transactions };
  }

  /**
   * Lets the process die at a point, counted from 0 among those that `counts` takes, and another one go on. Returns the
   * point where it really died.
   */
  async crashAt(index: number, counts: (point: CrashPoint) => boolean = () => true): Promise<CrashPoint | undefined> {
    let reached = -1;
    let died: CrashPoint | undefined;
    let steps: readonly JournaledStep[] = [];
    await this.#run(
      ({ process }) => {
        const pass = (point: CrashPoint) => {
          if (!counts(point)) return;
          reached += 1;
          if (reached !== index) return;
          died = point;
          process.kill();
        };
        return {
          verb: async (name, proceed) => {
            const under = steps;
            pass({ moment: 'before', what: name, steps: under });
            if (process.dead) return undefined;
            const settle = () => pass({ moment: 'after', what: name, steps: under });
            return this.#broken(name, proceed).finally(settle);
          },
          commit: (moment, written) => {
            if (moment === 'after') steps = written.filter((step) => / (start|undo)$/.test(step));
            pass({ moment, what: 'commit', steps: written });
          },
        };
      },
      this.#scenario.broken ? 'undone' : 'either',
    );
    return died;
  }

  /** Lets somebody cancel the operation while one verb runs, counted from 0, or after it. Returns how the operation ended. */
  async cancelAt(index: number, moment: 'during' | 'after'): Promise<Operation['status'] | undefined> {
    let reached = -1;
    await this.#run(
      ({ storage }) => ({
        verb: async (name, proceed) => {
          reached += 1;
          if (reached !== index) return this.#broken(name, proceed);
          const running = this.#broken(name, proceed);
          if (moment === 'during') await Promise.allSettled([running, this.#cancel(storage)]);
          const result = await running;
          if (moment === 'after') await this.#cancel(storage);
          return result;
        },
      }),
      'either',
    );
    return (await this.#latest())?.status;
  }

  /** Gives one transaction, counted from 0, another fate. Whether it was reached. */
  async disturbStore(index: number, fate: TransactionFate): Promise<boolean> {
    let reached = -1;
    await this.#run(
      () => ({
        verb: (name, proceed) => this.#broken(name, proceed),
        transaction: () => ((reached += 1) === index ? fate : 'once'),
      }),
      // A store that fails is no reason to give up what was promised.
      this.#scenario.broken ? 'undone' : 'done',
      // What a scenario sets up without a request, and could not, only the reconciler sees.
      index === 0 ? 'reconciled' : 'at once',
    );
    return reached >= index;
  }

  /** Disturbs one verb, counted from 0. Returns its name, or `undefined` when there was no such verb. */
  async disturb(index: number, fault: VerbFault): Promise<string | undefined> {
    let reached = -1;
    let disturbed: string | undefined;
    const outcome = fault === 'fails for good' || this.#scenario.broken ? 'either' : 'done';
    await this.#run(
      ({ process }) => ({
        verb: async (name, proceed) => {
          reached += 1;
          if (reached !== index) return this.#broken(name, proceed);
          disturbed = name;
          switch (fault) {
            case 'fails for good':
              throw new ScoriaError('not-supported', `The test lets ${name} fail.`);
            case 'fails once':
              throw new ScoriaError('backend-unavailable', `The test lets ${name} fail once.`);
            case 'loses its reply':
              await this.#broken(name, proceed);
              throw new ScoriaError('backend-unavailable', `The test loses the reply of ${name}.`);
            case 'runs twice':
              await this.#broken(name, proceed);
              return this.#broken(name, proceed);
            case 'is late':
              await this.#takeOver(process);
              return this.#broken(name, proceed);
            case 'is late with its reply': {
              const result = await this.#broken(name, proceed);
              await this.#takeOver(process);
              return result;
            }
          }
        },
      }),
      outcome,
      // A second failure, or a process that comes back from the dead, leaves things to the reconciler.
      this.#scenario.broken || fault === 'fails for good' ? 'reconciled' : 'at once',
    );
    return disturbed;
  }

  /** While `process` notices nothing, its lease runs out and another one ends the operation. */
  async #takeOver(process: Running['process']): Promise<void> {
    process.pause();
    await this.#site.start(this.#probeOfBroken());
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        unended(this.#site.store)
          .then((left) => (left.length === 0 ? resolve() : this.#site.time.schedule(500, look)))
          .catch(reject);
      };
      look();
    });
    process.resume();
  }

  async #run(
    probe: (running: Running) => Probe,
    allowed: Outcome | 'either',
    patience: 'at once' | 'reconciled' = 'at once',
  ): Promise<void> {
    const site = this.#site;
    const first = await site.running();
    // It may be the one that another scenario left, with what it broke.
    first.process.probe = {};
    const prepared = await this.#scenario.prepare(site);
    const known = new Set((await this.#operations()).map(({ id }) => id));
    const quiet = async () => (await unended(site.store)).length === 0;

    first.process.probe = probe(first);
    let answered = false;
    const answer = () => {
      answered = true;
    };
    prepared.begin(first.storage).then(answer, answer);
    await site.time.until(async () => first.process.dead || (answered && (await quiet())), longest, 'The end of the operation');
    first.process.probe = {};
    const crashed = first.process.dead;
    if (crashed) await site.start(this.#probeOfBroken());
    await site.time.until(quiet, longest, 'The end of the operation after the crash');
    // What was late, or still wants to be heard, has its time.
    await site.time.drive(site.time.sleep(5_000));
    if (first.process !== (await site.running()).process) first.process.kill();

    const begun = (await this.#operations()).filter(({ id, name }) => name === this.#scenario.operation && !known.has(id));
    const outcome = begun.some(({ status }) => status === 'succeeded') ? 'done' : 'undone';
    if (begun.length > 1) throw new Error(`${this.#scenario.operation} was begun ${begun.length} times`);
    // A process that died before the first commit leaves nothing; one that died after it has promised the end.
    if (allowed !== 'either' && begun.length > 0 && outcome !== allowed) {
      throw new Error(`${this.#scenario.operation} is ${outcome}: ${begun[0]?.error?.message ?? ''}`);
    }
    if (allowed === 'either' && crashed && !this.#scenario.broken && begun.length > 0 && outcome !== 'done') {
      throw new Error(`${this.#scenario.operation} did not survive a crash: ${begun[0]?.error?.message ?? ''}`);
    }
    await prepared.expect(outcome);
    let faults = await this.#faults();
    if (faults.length > 0 && patience === 'reconciled') {
      await site.time.pass(site.time.now + reconciliation);
      await site.time.until(quiet, longest, 'The end of what the reconciler began');
      faults = await this.#faults();
    }
    if (faults.length > 0) throw new Error(`${outcome}, and left: ${faults.join('; ')}`);
    await this.#clear();
  }

  async #faults(): Promise<readonly string[]> {
    const objects = await this.#site.objects();
    const strays = await this.#site.strays(objects);
    const rested: Rested = { ...this.#site.rested(), objects: async () => objects };
    return [...(await faultsAtRest(rested)), ...strays.map((name) => `${name} is left on the array`)];
  }

  /** Removes everything, through the use cases. */
  async #clear(): Promise<void> {
    const { time, store, contents } = this.#site;
    const { storage } = await this.#site.running();
    for (const { id } of await store.reading.attachments.list('every-project', {})) {
      await time.drive(storage.attachments.delete(alice, id));
    }
    for (const { id } of await store.reading.volumes.list('every-project', {})) {
      const { operationId } = await time.drive(storage.volumes.delete(root, id, { cascade: true }));
      await time.drive(storage.operations.wait(operationId, 60_000));
    }
    contents.clear();
    const objects = await this.#site.objects();
    const [left] = objects;
    if (left) throw new Error(`${left[0]} is on the array after everything was deleted`);
    const [stray] = await this.#site.strays(objects);
    if (stray !== undefined) throw new Error(`${stray} is left on the array after everything was deleted`);
    if (this.#site.target.exports.size > 0) throw new Error('Something is published after everything was deleted');
  }

  /** Asks for the end of the scenario's operation; a refusal is an answer. */
  async #cancel({ operations }: BlockStorage): Promise<void> {
    const latest = await this.#latest();
    if (latest) await operations.cancel({ ...root, projectId: latest.projectId }, latest.id).catch(() => {});
  }

  async #broken(name: string, proceed: () => Promise<unknown>): Promise<unknown> {
    if (name === this.#scenario.broken) throw new ScoriaError('not-supported', `The scenario lets ${name} fail.`);
    return proceed();
  }

  #probeOfBroken(): Probe {
    return { verb: (name, proceed) => this.#broken(name, proceed) };
  }

  async #latest(): Promise<Operation | undefined> {
    return (await this.#operations()).find(({ name }) => name === this.#scenario.operation);
  }

  /** The latest ones. */
  async #operations(): Promise<readonly Operation[]> {
    return this.#site.store.reading.operations.list('every-project', { limit: 12 });
  }
}
