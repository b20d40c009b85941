import type { LogicalUnit } from '../scsi/logical-unit.ts';
import type { Session } from './session.ts';

/** One access as a target of its own, with LUN 0. */
export interface Target {
  /** iSCSI name, lower case. */
  readonly name: string;
  /** Also the CHAP name. */
  readonly accessId: string;
  readonly secret: string;
  readonly readOnly: boolean;
  /** When given, only this initiator name may log in. */
  readonly initiator: string | undefined;
  readonly logicalUnit: LogicalUnit;
  /** Sessions that are logged in. */
  readonly sessions: Set<Session>;
}

/** The targets that can be logged in to. */
export class TargetRegistry {
  readonly #byName = new Map<string, Target>();
  readonly #byAccess = new Map<string, Target>();

  add(target: Target): void {
    this.#byName.set(target.name, target);
    this.#byAccess.set(target.accessId, target);
  }

  remove(target: Target): void {
    this.#byName.delete(target.name);
    this.#byAccess.delete(target.accessId);
  }

  /** By iSCSI name, whose letter case means nothing (RFC 7143, 4.2.7.1). */
  find(name: string): Target | undefined {
    return this.#byName.get(name.toLowerCase());
  }

  /** By access id. */
  findAccess(accessId: string): Target | undefined {
    return this.#byAccess.get(accessId);
  }

  /** Whether `target` can still be logged in to. */
  has(target: Target): boolean {
    return this.#byName.get(target.name) === target;
  }

  values(): Iterable<Target> {
    return this.#byName.values();
  }
}
