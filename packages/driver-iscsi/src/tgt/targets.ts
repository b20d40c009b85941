import { createHash } from 'node:crypto';
import { ScoriaError, type Clock, type ExportRequest } from '@scoria/core';
import { accessIdOf, uuidOf } from '../access-id.ts';
import { targetName } from '../target/target-name.ts';
import type { TgtTarget } from './target-report.ts';
import type { NewUnit, Tgtadm } from './tgtadm.ts';

/** LUN of the volume; LUN 0 is tgt's controller. */
export const volumeLun = 1;

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
  /** Whether initiators can log in and find the volume. */
  readonly isWhole: boolean;
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

  constructor(tgtadm: Tgtadm, clock: Clock, iqnPrefix: string) {
    this.#tgtadm = tgtadm;
    this.#clock = clock;
    this.#iqnPrefix = iqnPrefix;
  }

  /** All targets of ours, whole or not. */
  async all(signal: AbortSignal): Promise<readonly PublishedTarget[]> {
    const targets = await this.#tgtadm.targets(signal);
    return targets.flatMap((target) => {
      const accessId = accessIdOf(this.#iqnPrefix, target.name);
      return accessId === null ? [] : [published(target, accessId)];
    });
  }

  async find(accessId: string, signal: AbortSignal): Promise<PublishedTarget | undefined> {
    return (await this.all(signal)).find((target) => target.accessId === accessId);
  }

  /** Makes the target of an access, with nothing in it, and gives its id; `null` when there is one of that name. */
  async claim(accessId: string, signal: AbortSignal): Promise<number | null> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      // Made from the access, so that no list of all targets is needed to find a free one.
      const hash = createHash('sha256').update(`${accessId} ${attempt}`).digest().readUInt32BE();
      const tid = 1 + (hash % (targetIds - 1));
      if ((await this.#tgtadm.addTarget(tid, targetName(this.#iqnPrefix, accessId))) === 'done') return tid;
      if ((await this.find(accessId, signal)) !== undefined) return null;
    }
    throw new ScoriaError('transport-failed', `tgtd has other targets with all ids that access ${accessId} could have`);
  }

  /** Gives a target its logical unit. */
  async addUnit(tid: number, unit: PublishedUnit): Promise<void> {
    const { volumeId, path, readOnly } = unit;
    const answer = await this.#tgtadm.addUnit(tid, volumeLun, unit);
    if (answer !== 'done')
      throw new ScoriaError('transport-failed', `tgtd does not open ${path} for volume ${volumeId}: ${answer}`);
    await this.#tgtadm.describeUnit(tid, volumeLun, {
      scsi_sn: volumeId,
      scsi_id: volumeId,
      vendor_id: 'SCORIA',
      product_id: 'Scoria',
      thin_provisioning: '1',
      readonly: readOnly ? '1' : '0',
    });
  }

  /** Lets the owner of the secret log in, and with a name given only an initiator of that name. */
  async admit(tid: number, { accessId, secret, initiator }: ExportRequest): Promise<void> {
    if ((await this.#tgtadm.addAccount(accessId, secret)) === 'exists') {
      // Of an earlier target that was not ended to the last; its secret may be another.
      await this.#tgtadm.removeAccount(accessId);
      await this.#tgtadm.addAccount(accessId, secret);
    }
    await this.#tgtadm.bindAccount(tid, accessId);
    await this.#tgtadm.admit(tid, initiator ?? null);
  }

  /** Ends a target: when it settles, no write can follow, and its device is closed. */
  async end(accessId: string, signal: AbortSignal): Promise<void> {
    const found = await this.find(accessId, signal);
    if (found !== undefined) {
      for (const name of found.admitted) await this.#tgtadm.refuse(found.tid, name === 'ALL' ? null : name);
      await this.#closeUnit(accessId, signal);
      await this.#until(`the end of access ${accessId}`, signal, async () => {
        const target = await this.find(accessId, signal);
        if (target === undefined) return true;
        await this.#closeSessions(target);
        await this.#tgtadm.removeTarget(target.tid);
        return false;
      });
    }
    await this.#tgtadm.removeAccount(accessId);
  }

  /** Opens the device again, which has another size. Sessions end, and initiators come back by themselves. */
  async openAgain(accessId: string, signal: AbortSignal): Promise<void> {
    const found = await this.find(accessId, signal);
    if (found === undefined || found.unit === null || !found.isWhole) return;
    await this.#tgtadm.setState(found.tid, 'offline');
    try {
      await this.#closeUnit(accessId, signal);
      await this.addUnit(found.tid, found.unit);
    } finally {
      await this.#tgtadm.setState(found.tid, 'ready');
    }
  }

  /** Ends sessions and closes the device. tgtd does that only when no command is under way. */
  async #closeUnit(accessId: string, signal: AbortSignal): Promise<void> {
    await this.#until(`the end of the commands of access ${accessId}`, signal, async () => {
      const target = await this.find(accessId, signal);
      if (target === undefined) return true;
      await this.#closeSessions(target);
      if (target.sessions.length > 0) return false;
      return (await this.#tgtadm.removeUnit(target.tid, volumeLun)) !== 'active';
    });
  }

  async #closeSessions({ tid, sessions }: PublishedTarget): Promise<void> {
    for (const { sid, connections } of sessions) {
      for (const cid of connections) await this.#tgtadm.closeConnection(tid, sid, cid);
    }
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

function published(target: TgtTarget, accessId: string): PublishedTarget {
  const found = target.units.find(({ lun }) => lun === volumeLun);
  const volumeId = uuidOf(found?.serial ?? '');
  const unit = found === undefined || volumeId === null ? null : { ...found, volumeId };
  const isOpen = target.state === 'ready' && target.accounts.includes(accessId) && target.admitted.length > 0;
  return { ...target, accessId, unit, isWhole: isOpen && unit !== null };
}
