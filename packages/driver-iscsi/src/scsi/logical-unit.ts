import type { BlockDevice, Clock, Extent, IoLimits } from '@scoria/core/device';
import { IoLimiter, type LimitedCommand } from '../volume/io-limiter.ts';
import type { GatedWrite } from '../volume/write-gate.ts';
import { WriteGate } from '../volume/write-gate.ts';
import { addUnitAttention, scsiStatus, type Nexus, type ScsiCommand } from './command.ts';
import type { CommandDefinition, CommandTable } from './command-table.ts';
import { ModeParameters } from './mode-parameters.ts';
import { withoutTarget, type ReservationOutcome, type ReservationState } from './reservation-state.ts';
import { Reservations } from './reservations.ts';
import { formatDescriptorSense, formatSense, SenseError, senseFromError, senseOf, type Sense } from './sense.ts';
import { TaskSet } from './task-set.ts';

/** Counters since the logical unit was made. */
export interface UnitStatistics {
  readBytes: number;
  writtenBytes: number;
  reads: number;
  writes: number;
}

/**
 * One volume as a SCSI direct access block device (SBC-3). All accesses of the volume share it, so whatever holds
 * across initiators is kept here.
 */
export class LogicalUnit {
  readonly volumeId: string;
  readonly commands: CommandTable;
  readonly gate = new WriteGate();
  readonly taskSet = new TaskSet();
  readonly nexuses = new Set<Nexus>();
  readonly mode = new ModeParameters();
  readonly reservations: Reservations;
  readonly statistics: UnitStatistics = { readBytes: 0, writtenBytes: 0, reads: 0, writes: 0 };
  #device: BlockDevice;
  #limiter: IoLimiter | null = null;

  constructor(volumeId: string, device: BlockDevice, commands: CommandTable, reservations = new Reservations(undefined, null)) {
    this.volumeId = volumeId;
    this.commands = commands;
    this.reservations = reservations;
    this.#device = device;
  }

  get device(): BlockDevice {
    return this.#device;
  }

  /** Puts another open device of the same volume in place, and returns the one before. */
  replaceDevice(device: BlockDevice): BlockDevice {
    const before = this.#device;
    this.#device = device;
    return before;
  }

  /** Like `allocatedExtents` of the device; goes on with the next one when that is replaced and closed meanwhile. */
  async *allocatedExtents(offset: number, length: number): AsyncGenerator<Extent> {
    const end = offset + length;
    for (let at = offset; ;) {
      const device = this.#device;
      try {
        for await (const extent of device.allocatedExtents(at, end - at)) {
          yield extent;
          at = extent.offset + extent.length;
        }
        return;
      } catch (error) {
        if (device === this.#device) throw error;
      }
    }
  }

  /** Bytes that a CDB asks the initiator for; 0 for a command that is not known. */
  dataOutLength(cdb: Buffer): number {
    return this.commands.find(cdb[0]!, cdb[1]! & 0x1f)?.dataOut?.(this, cdb) ?? 0;
  }

  /** Holds the volume to limits from here on, also commands that wait; `null` lifts them. */
  limit(limits: IoLimits | null, clock: Clock): void {
    const limiter = this.#limiter;
    if (limits !== null && limiter === null) this.#limiter = new IoLimiter(limits, clock);
    else limiter?.change(limits ?? {});
    if (limits === null) this.#limiter = null;
  }

  /**
   * Lets a command begin, as soon as the limits of the volume allow it: before memory is set aside for its data and they are
   * asked for, so that a volume which waits long takes nothing from others.
   */
  admit(command: ScsiCommand): void {
    if (this.#limiter === null) command.admitted();
    else this.#admitLimited(command, this.#limiter);
  }

  #admitLimited(command: ScsiCommand, limiter: IoLimiter): void {
    const { cdb } = command;
    const definition = this.commands.find(cdb[0]!, cdb[1]! & 0x1f);
    const writes = definition?.writes === true;
    const bytes = definition?.moves?.(this, cdb) ?? (writes ? this.dataOutLength(cdb) : null);
    if (bytes === null) return command.admitted();
    const limited: LimitedCommand = {
      direction: writes ? 'write' : 'read',
      bytes,
      run: () => {
        command.onAbort = null;
        command.admitted();
      },
    };
    command.onAbort = () => {
      if (limiter.withdraw(limited)) command.check(senseOf.aborted);
    };
    limiter.enter(limited);
  }

  /** Runs a command; it ends through one of the methods of {@link ScsiCommand}, perhaps before this returns. */
  execute(command: ScsiCommand): void {
    const { cdb, nexus } = command;
    const definition = this.commands.find(cdb[0]!, cdb[1]! & 0x1f);
    if (!command.lunExists && definition?.beforeAttention !== true) return command.check(senseOf.logicalUnitNotSupported);
    if (nexus.unitAttentions.length > 0 && definition?.beforeAttention !== true) {
      return command.check(nexus.unitAttentions.shift()!);
    }
    if (definition === undefined) {
      return command.check(this.commands.hasActions(cdb[0]!) ? senseOf.invalidFieldAt(1) : senseOf.invalidOpcode);
    }
    if (this.reservations.held && this.#conflicts(nexus, definition, cdb)) return command.end(scsiStatus.reservationConflict);
    // NACA is not supported; the CONTROL byte is the last of the CDB.
    if ((cdb[definition.usage.length - 1]! & 0x04) !== 0) return command.check(senseOf.invalidFieldInCdb);
    if (definition.writes === true) {
      if (nexus.readOnly) return command.check(senseOf.writeProtected);
      if (this.mode.writeProtected) return command.check(senseOf.softwareWriteProtected);
    }
    definition.run(this, command);
  }

  /**
   * Passes the write gate, then does `work` on the device, then calls `then`, or ends the command with the sense of what
   * went wrong. A command that was aborted meanwhile does not reach the device.
   */
  change(
    command: ScsiCommand,
    range: { readonly offset: number; readonly length: number; readonly exclusive?: boolean },
    work: () => Promise<void>,
    then: () => void = () => command.good(),
  ): void {
    const write: GatedWrite = {
      offset: range.offset,
      length: range.length,
      exclusive: range.exclusive ?? false,
      run: () => {
        command.onAbort = null;
        if (command.aborted) {
          this.gate.leave();
          return command.check(senseOf.aborted);
        }
        work().then(
          () => {
            this.gate.leave();
            then();
          },
          (error: unknown) => {
            this.gate.leave();
            command.check(error instanceof SenseError ? error.sense : senseFromError(error, false));
          },
        );
      },
    };
    command.onAbort = () => {
      if (this.gate.withdraw(write)) command.check(senseOf.aborted);
    };
    if (this.gate.enter(write)) command.onAbort = null;
  }

  /** Tells every initiator that the size has changed. */
  announceResize(): void {
    this.announce(senseOf.capacityChanged);
  }

  /** Establishes a unit attention condition for every initiator, but for the one that brought it about. */
  announce(sense: Sense, except?: Nexus): void {
    for (const nexus of this.nexuses) if (nexus !== except) addUnitAttention(nexus, sense);
  }

  /**
   * Changes the persistent reservations, and tells initiators what that means to them (SPC-4, 5.13.11). Rejects when the
   * change could not be kept; nothing has changed then.
   */
  changeReservations(action: (state: ReservationState) => ReservationOutcome): Promise<ReservationOutcome> {
    return this.reservations.change(action, (attentions) => {
      for (const nexus of this.nexuses) {
        const sense = attentions.get(this.reservations.idOf(nexus));
        if (sense !== undefined) addUnitAttention(nexus, sense);
      }
    });
  }

  /** Forgets a target that is gone for good, with all that was registered through it. Rejects like {@link changeReservations}. */
  async removeTarget(targetName: string): Promise<void> {
    await this.changeReservations((state) => withoutTarget(state, targetName));
    this.reservations.removeTarget(targetName);
  }

  /** What a logical unit reset and a target reset do besides aborting tasks (SAM-5, 6.3.3). Persistent reservations stay. */
  reset(): void {
    this.reservations.reset();
    this.mode.reset();
  }

  /** Forgets what lasts as long as a nexus (SAM-5, 6.3.4). */
  loseNexus(nexus: Nexus): void {
    this.nexuses.delete(nexus);
    this.reservations.release(nexus);
  }

  /** Sense data in the format that the control mode page asks for. */
  formatSense(sense: Sense): Buffer {
    return this.mode.descriptorSense ? formatDescriptorSense(sense) : formatSense(sense);
  }

  #conflicts(nexus: Nexus, { reservation }: CommandDefinition, cdb: Buffer): boolean {
    return this.reservations.conflicts(nexus, typeof reservation === 'string' ? reservation : reservation(cdb));
  }
}
