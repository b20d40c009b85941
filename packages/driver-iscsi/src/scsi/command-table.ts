import type { ScsiCommand } from './command.ts';
import type { LogicalUnit } from './logical-unit.ts';
import type { ReservationRule } from './reservations.ts';

/** One command of the command set. */
export interface CommandDefinition {
  readonly opcode: number;
  /** Where one opcode has several commands: low five bits of byte 1. */
  readonly serviceAction?: number;
  /** CDB usage data: which bits of the CDB are looked at (SPC-4, 6.35.3). As long as the CDB. */
  readonly usage: Buffer;
  /** Changes the medium, so an access that may not write cannot use it. */
  readonly writes?: boolean;
  /** What it may do beside another's reservation; where that depends on the CDB, by it. */
  readonly reservation: ReservationRule | ((cdb: Buffer) => ReservationRule);
  /** Goes on although a unit attention condition waits (SAM-5, 5.14.1), and for LUNs that do not exist. */
  readonly beforeAttention?: boolean;
  /**
   * Bytes of the medium that it reads or writes, for the limits of the volume. Left out, a command that writes moves what the
   * initiator sent, and any other none.
   */
  moves?(unit: LogicalUnit, cdb: Buffer): number;
  /** Bytes that the CDB asks the initiator for. */
  dataOut?(unit: LogicalUnit, cdb: Buffer): number;
  run(unit: LogicalUnit, command: ScsiCommand): void;
}

/** Makes usage data of hexadecimal digits; a definition reads better with them. */
export const usageOf = (digits: string): Buffer => Buffer.from(digits.replaceAll(' ', ''), 'hex');

/** Finds the definition for a CDB. */
export class CommandTable {
  readonly #plain: (CommandDefinition | undefined)[] = [];
  readonly #byAction = new Map<number, CommandDefinition>();
  readonly #withActions = new Set<number>();
  readonly all: readonly CommandDefinition[];

  constructor(definitions: readonly CommandDefinition[]) {
    this.all = definitions;
    for (const definition of definitions) {
      if (definition.serviceAction === undefined) this.#plain[definition.opcode] = definition;
      else {
        this.#withActions.add(definition.opcode);
        this.#byAction.set((definition.opcode << 5) | definition.serviceAction, definition);
      }
    }
  }

  find(opcode: number, serviceAction: number): CommandDefinition | undefined {
    return this.#plain[opcode] ?? (serviceAction < 32 ? this.#byAction.get((opcode << 5) | serviceAction) : undefined);
  }

  /** Whether an opcode stands for several commands. */
  hasActions(opcode: number): boolean {
    return this.#withActions.has(opcode);
  }
}
