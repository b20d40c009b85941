import type { BlockDevice, Extent } from '@scoria/core/device';
import type { GatedWrite } from '../volume/write-gate.ts';
import { WriteGate } from '../volume/write-gate.ts';
import { addUnitAttention, type Nexus, type ScsiCommand } from './command.ts';
import type { CommandTable } from './command-table.ts';
import { SenseError, senseFromError, senseOf } from './sense.ts';
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
  readonly statistics: UnitStatistics = { readBytes: 0, writtenBytes: 0, reads: 0, writes: 0 };
  #device: BlockDevice;

  constructor(volumeId: string, device: BlockDevice, commands: CommandTable) {
    this.volumeId = volumeId;
    this.commands = commands;
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

  /** Runs a command; it ends through one of the methods of {@link ScsiCommand}, perhaps before this returns. */
  execute(command: ScsiCommand): void {
    const { cdb, nexus } = command;
    const definition = this.commands.find(cdb[0]!, cdb[1]! & 0x1f);
    if (!command.lunExists && definition?.beforeAttention !== true) return command.check(senseOf.logicalUnitNotSupported);
    if (nexus.unitAttentions.length > 0 && definition?.beforeAttention !== true) {
      return command.check(nexus.unitAttentions.shift()!);
    }
    if (definition === undefined) return command.check(senseOf.invalidOpcode);
    // NACA is not supported; the CONTROL byte is the last of the CDB.
    if ((cdb[definition.usage.length - 1]! & 0x04) !== 0) return command.check(senseOf.invalidFieldInCdb);
    if (definition.writes === true && nexus.readOnly) return command.check(senseOf.writeProtected);
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
    for (const nexus of this.nexuses) addUnitAttention(nexus, senseOf.capacityChanged);
  }
}
