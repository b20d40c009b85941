import { createHash } from 'node:crypto';
import { ScoriaError, withDeadline, type Clock, type ExportRequest } from '@scoria/core';
import { accessIdOf, uuidOf } from '../access-id.ts';
import { targetName } from '../target/target-name.ts';
import type { TgtTarget } from './target-report.ts';
import { everyAddress, type Answer, type NewUnit, type Tgtadm } from './tgtadm.ts';

/** LUN of the volume; LUN 0 is tgt's controller. */
export const volumeLun = 1;

/** Letters of a secret's digest in the name of its account: enough to tell two secrets apart. */
const digestLength = 16;

/**
 * Name of the account that may log in to an access. tgtd tells no secrets, so the name tells whether the account has
 * the right one.
 */
export function userOf({ accessId, secret }: Pick<ExportRequest, 'accessId' | 'secret'>): string {
  const digest = createHash('sha256').update(`${accessId} ${secret}`).digest('hex');
  return `${accessId}-${digest.slice(0, digestLength)}`;
}

/** The logical unit of an access. */
export interface PublishedUnit extends NewUnit {
  readonly volumeId: string;
  readonly readOnly: boolean;
}

/** The target of an access, as tgtd has it. */
export interface PublishedTarget extends TgtTarget {
  readonly accessId: string;
  /** `null` before it was made, and when it is gone. */
  readonly unit: PublishedUnit | null;
  /** Whether somebody can log in to it, by a secret, and reach its volume. */
  readonly complete: boolean;
}

/** tgtd keeps the ids of targets as signed numbers, and 0 is none. */
const targetIds = 0x7fff_ffff;
/** Ids tried for one access when others have them already. */
const attempts = 8;
/** Time between two looks at what is about to end, and the longest wait for that, ms. */
const pause = 25;
const patience = 60_000;

/** The targets of one transport in tgtd, which is the only one to remember them. */
export class TgtTargets {
  readonly #tgtadm: Tgtadm;
  readonly #clock: Clock;
  readonly #iqnPrefix: string;
  /** Ends with the report that is being made. */
  #reporting: Promise<unknown> = Promise.resolve();
  #nextReport: Promise<readonly TgtTarget[]> | null = null;

  constructor(tgtadm: Tgtadm, clock: Clock, iqnPrefix: string) {
    this.#tgtadm = tgtadm;
    this.#clock = clock;
    this.#iqnPrefix = iqnPrefix;
  }

  /**
   * All targets of ours, whole or not, but those that may be feigned by a host to have us end the target that really has the
   * id: that one is told besides. What the others tell can be feigned, too, see {@link parseTargets}.
   *
   * @param isKnown - tells the accesses whose targets are known to be there.
   */
  async all(isKnown: (accessId: string) => boolean, signal: AbortSignal): Promise<readonly PublishedTarget[]> {
    const told = await this.#told(signal);
    const namesOf = Map.groupBy(told, ({ tid }) => tid);
    return this.#ours(told).filter(({ accessId, tid, name }) => {
      return isKnown(accessId) || namesOf.get(tid)?.every((other) => other.name === name);
    });
  }

  /** Makes the target of an access, with nothing in it, and gives its id; or gives what is told of the one that there is. */
  async claim(accessId: string, signal: AbortSignal): Promise<number | readonly PublishedTarget[]> {
    for (const tid of idsOf(accessId)) {
      if ((await this.#tgtadm.addTarget(tid, targetName(this.#iqnPrefix, accessId))) === 'done') return tid;
      const found = await this.#find(accessId, signal);
      if (found.length > 0) return found;
    }
    throw new ScoriaError('transport-failed', `tgtd has other targets with all ids that access ${accessId} could have`);
  }

  /** Whether a target lets in whom it should, and serves what it should. */
  serves(found: PublishedTarget, { volumeId, path, readOnly }: PublishedUnit, request: ExportRequest): boolean {
    return (
      found.complete &&
      found.unit?.volumeId === volumeId &&
      found.unit.path === path &&
      found.unit.readOnly === readOnly &&
      found.accounts.join() === userOf(request) &&
      found.admitted.join() === (request.initiator ?? everyAddress)
    );
  }

  /** Gives a target its logical unit. Until it tells the volume it tells nothing else that is not so. */
  async addUnit(tid: number, unit: PublishedUnit): Promise<void> {
    const { volumeId, path, readOnly } = unit;
    requireDone(await this.#tgtadm.addUnit(tid, volumeLun, unit), `open ${path} for volume ${volumeId}`);
    const parameters = {
      readonly: readOnly ? '1' : '0',
      thin_provisioning: '1',
      vendor_id: 'SCORIA',
      product_id: 'Scoria',
      scsi_id: volumeId,
      scsi_sn: volumeId,
    };
    requireDone(await this.#tgtadm.describeUnit(tid, volumeLun, parameters), `describe the unit of volume ${volumeId}`);
  }

  /** Lets the owner of the secret log in, and with a name given only an initiator of that name. */
  async admit(tid: number, request: ExportRequest): Promise<void> {
    const { accessId, secret, initiator } = request;
    const user = userOf(request);
    // It may be there, with the same secret: of an earlier target that was not ended to the last.
    await this.#tgtadm.addAccount(user, secret);
    // A target without an account asks nobody for a secret.
    requireDone(await this.#tgtadm.bindAccount(tid, user), `take the account of access ${accessId}`);
    requireDone(await this.#tgtadm.admit(tid, initiator ?? null), `let initiators log in for access ${accessId}`);
  }

  /** Ends a target: when it settles, no write can follow, and its device is closed. */
  async end(accessId: string, signal: AbortSignal): Promise<void> {
    for (const { tid } of await this.#find(accessId, signal)) {
      await this.#tgtadm.setState(tid, 'offline');
      await this.#closeUnit(accessId, tid, signal);
      await this.#until(`the end of access ${accessId}`, signal, async () => {
        await this.#closeConnections(tid, signal);
        return (await this.#tgtadm.removeTarget(tid)) !== 'active';
      });
    }
    for (const user of await this.#tgtadm.accounts(signal)) {
      if (user.startsWith(accessId)) await this.#tgtadm.removeAccount(user);
    }
  }

  /** Opens the device again, which has another size. Sessions end, and initiators come back by themselves. */
  async openAgain(accessId: string, unit: PublishedUnit, signal: AbortSignal): Promise<void> {
    for (const { tid } of await this.#find(accessId, signal)) {
      if ((await this.#tgtadm.setState(tid, 'offline')) !== 'done') continue;
      try {
        await this.#closeUnit(accessId, tid, signal);
      } catch (error) {
        // The unit is as it was.
        await this.#tgtadm.setState(tid, 'ready');
        throw error;
      }
      // One that could not be described would be there for writing: nobody gets to see it.
      await this.addUnit(tid, unit);
      requireDone(await this.#tgtadm.setState(tid, 'ready'), `let initiators come back for access ${accessId}`);
    }
  }

  /** A report that begins from here on. Its length is that of all targets, so those who ask while one is made share the next. */
  #report(): Promise<readonly TgtTarget[]> {
    this.#nextReport ??= this.#reporting.then(() => {
      const report = this.#tgtadm.targets();
      this.#nextReport = null;
      this.#reporting = report.catch(() => {});
      return report;
    });
    return this.#nextReport;
  }

  /** The target of an access; several when others are feigned. */
  async #find(accessId: string, signal: AbortSignal): Promise<readonly PublishedTarget[]> {
    return this.#ours(await this.#told(signal)).filter((target) => target.accessId === accessId);
  }

  #told(signal: AbortSignal): Promise<readonly TgtTarget[]> {
    return withDeadline(this.#clock, patience, 'The report of tgtd', () => this.#report(), signal);
  }

  #ours(told: readonly TgtTarget[]): readonly PublishedTarget[] {
    return told.flatMap((target) => {
      const accessId = accessIdOf(this.#iqnPrefix, target.name);
      // An id that the access cannot have would lead to a target of somebody else.
      return accessId === null || !idsOf(accessId).includes(target.tid) ? [] : [published(target, accessId)];
    });
  }

  /** Ends sessions and closes the device. tgtd does that only when no command is under way. */
  async #closeUnit(accessId: string, tid: number, signal: AbortSignal): Promise<void> {
    await this.#until(`the end of the commands of access ${accessId}`, signal, async () => {
      if (await this.#closeConnections(tid, signal)) return false;
      return (await this.#tgtadm.removeUnit(tid, volumeLun)) !== 'active';
    });
  }

  /** Whether there were any. */
  async #closeConnections(tid: number, signal: AbortSignal): Promise<boolean> {
    const answers: Answer[] = [];
    for (const { sid, cid } of await this.#tgtadm.connections(tid, signal)) {
      answers.push(await this.#tgtadm.closeConnection(tid, sid, cid));
    }
    return answers.includes('done');
  }

  async #until(what: string, signal: AbortSignal, look: () => Promise<boolean>): Promise<void> {
    const begin = this.#clock.monotonic();
    while (!(await look())) {
      if (this.#clock.monotonic() - begin > patience) {
        throw new ScoriaError('deadline-exceeded', `tgtd has not reported ${what} within ${patience} ms`);
      }
      await this.#clock.sleep(pause, signal);
    }
  }
}

/** Ids that the target of an access may have: made from the access, so that no list of all is needed to find a free one. */
function idsOf(accessId: string): readonly number[] {
  return Array.from({ length: attempts }, (_, attempt) => {
    const hash = createHash('sha256').update(`${accessId} ${attempt}`).digest().readUInt32BE();
    return 1 + (hash % (targetIds - 1));
  });
}

function published(target: TgtTarget, accessId: string): PublishedTarget {
  const found = target.units.find(({ lun }) => lun === volumeLun);
  const volumeId = uuidOf(found?.serial ?? '');
  const unit = found === undefined || volumeId === null ? null : { ...found, volumeId };
  const isOpen = target.state === 'ready' && target.accounts.length > 0 && target.admitted.length > 0;
  return { ...target, accessId, unit, complete: isOpen && unit !== null };
}

function requireDone(answer: Answer, what: string): void {
  if (answer !== 'done') throw new ScoriaError('transport-failed', `tgtd does not ${what}: ${answer}`);
}
