import type { Nexus } from './command.ts';
import {
  holds,
  isForRegistrants,
  letsOthersRead,
  nexusId,
  noReservations,
  type NexusName,
  type ReservationOutcome,
  type ReservationState,
} from './reservation-state.ts';
import type { Sense } from './sense.ts';
import { initiatorPortName } from './transport-id.ts';

/**
 * How a command fares beside a reservation that somebody else holds (SPC-4, table 66; SBC-3, table 13; SPC-2, table 9).
 *
 * - `always`: is done.
 * - `status`: is done, but not while another initiator has reserved the logical unit with RESERVE(6) or (10).
 * - `read`: is done where the type of the persistent reservation lets others read.
 * - `exclusive`: is not done.
 */
export type ReservationRule = 'always' | 'status' | 'read' | 'exclusive';

/** Keeps a state on stable storage. */
export type KeepReservations = (state: ReservationState) => Promise<void>;

/** The nexus by the names that outlive its session. */
export const nexusName = ({ initiatorName, isid, targetName }: Nexus): NexusName => ({
  initiatorPort: initiatorPortName(initiatorName, isid),
  targetName,
});

/** Who has reserved a logical unit, persistently or until its session ends. */
export class Reservations {
  #state: ReservationState;
  readonly #keep: KeepReservations | null;
  /** Holder of a reservation made by RESERVE(6) or RESERVE(10) (SPC-2, 7.21). */
  #reserver: Nexus | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  /** Relative target port identifiers by target name. */
  readonly #ports = new Map<string, number>();
  readonly #ids = new WeakMap<Nexus, string>();
  /** Whether anything is reserved. Asked by every command, so it is a plain field. */
  held = false;

  /**
   * @param kept - what was there when the logical unit was last served.
   * @param keep - `null` where nothing can outlive the process; APTPL is refused then.
   */
  constructor(kept: ReservationState | undefined, keep: KeepReservations | null) {
    this.#state = kept ?? noReservations;
    this.#keep = keep;
    for (const { targetName } of this.#state.registrations.values()) this.addTarget(targetName);
    this.#update();
  }

  get state(): ReservationState {
    return this.#state;
  }

  /** Whether APTPL can be asked for. */
  get canPersist(): boolean {
    return this.#keep !== null;
  }

  /** Who reserved the logical unit with RESERVE(6) or (10). */
  get reserver(): Nexus | null {
    return this.#reserver;
  }

  /** Makes a target known, through which the logical unit is reached from now on. */
  addTarget(targetName: string): void {
    if (this.#ports.has(targetName)) return;
    const taken = new Set(this.#ports.values());
    let port = 1;
    while (taken.has(port)) port++;
    this.#ports.set(targetName, port);
  }

  /** Relative target port identifier of a target (SAM-5, 4.6.5.2): from 1 on, for as long as the target is there; 0 for one that is gone. */
  portOf(targetName: string): number {
    return this.#ports.get(targetName) ?? 0;
  }

  /** The target with a relative target port identifier. */
  targetAt(port: number): string | null {
    for (const [name, known] of this.#ports) if (known === port) return name;
    return null;
  }

  /** Names of all targets through which the logical unit is reached. */
  get targetNames(): string[] {
    return [...this.#ports.keys()];
  }

  /** The nexus as the state names it. */
  idOf(nexus: Nexus): string {
    let id = this.#ids.get(nexus);
    if (id === undefined) this.#ids.set(nexus, (id = nexusId(nexusName(nexus))));
    return id;
  }

  /** Whether a command of a nexus has to end with RESERVATION CONFLICT. */
  conflicts(nexus: Nexus, rule: ReservationRule): boolean {
    if (rule === 'always') return false;
    if (this.#reserver !== null) return this.#reserver !== nexus;
    const { reservation, registrations } = this.#state;
    if (reservation === null || rule === 'status') return false;
    if (rule === 'read' && letsOthersRead(reservation.type)) return false;
    const id = this.idOf(nexus);
    if (holds(this.#state, id)) return false;
    return !(isForRegistrants(reservation.type) && registrations.has(id));
  }

  /**
   * Replaces the state by what `action` makes of it, one call after the other. Where it persists it is on stable storage
   * before it is in effect; rejects with what went wrong there, and nothing has changed. `announce` tells initiators in
   * the moment when it takes effect.
   */
  change(
    action: (state: ReservationState) => ReservationOutcome,
    announce: (attentions: ReadonlyMap<string, Sense>) => void,
  ): Promise<ReservationOutcome> {
    const turn = this.#turn.then(async () => {
      const before = this.#state;
      const outcome = action(before);
      if (outcome.kind !== 'done' || outcome.state === before) return outcome;
      if (this.#keep !== null && (before.persists || outcome.state.persists)) await this.#keep(outcome.state);
      this.#state = outcome.state;
      this.#update();
      announce(outcome.attentions);
      return outcome;
    });
    this.#turn = turn.catch(() => {});
    return turn;
  }

  /** Forgets a target that is gone for good. Nothing may be registered through it any more. */
  removeTarget(targetName: string): void {
    this.#ports.delete(targetName);
  }

  /** Reserves until the nexus releases it, is lost, or the logical unit is reset. */
  reserve(nexus: Nexus): void {
    this.#reserver = nexus;
    this.#update();
  }

  /** Ends the reservation that a nexus made with {@link reserve}, if it has it. */
  release(nexus: Nexus): void {
    if (this.#reserver === nexus) this.reset();
  }

  /** Ends the reservation made with {@link reserve}, whoever has it; persistent ones stay (SAM-5, 6.3.3). */
  reset(): void {
    this.#reserver = null;
    this.#update();
  }

  #update(): void {
    this.held = this.#reserver !== null || this.#state.reservation !== null;
  }
}
