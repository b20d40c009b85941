import type { Sense } from './sense.ts';

/** SCSI status codes (SAM-5, 5.3.1). */
export const scsiStatus = { good: 0x00, checkCondition: 0x02, busy: 0x08, reservationConflict: 0x18, taskSetFull: 0x28 } as const;

/** One initiator port with one target port, as the logical unit sees it (I_T nexus, SAM-5, 4.7). */
export interface Nexus {
  readonly initiatorName: string;
  /** Initiator part of the session identifier, 12 hexadecimal digits; with the name it makes the initiator port (RFC 7143, 4.4.2). */
  readonly isid: string;
  /** Name of the target port's device. */
  readonly targetName: string;
  /** Whether this access may not write. */
  readonly readOnly: boolean;
  /** Unit attention conditions not yet told, oldest first; at most one of each. */
  readonly unitAttentions: Sense[];
}

/** One command on its way through a logical unit. */
export interface ScsiCommand {
  /** 16 bytes. */
  readonly cdb: Buffer;
  readonly nexus: Nexus;
  /** Whether it addresses LUN 0. */
  readonly lunExists: boolean;
  /** What the initiator sent; shorter than the CDB asks for where the initiator announced less. */
  readonly dataOut: Buffer;
  /** Bytes that the initiator announced to send. */
  readonly announced: number;
  /** Set by an abort. The command then does nothing more to the device, and completes as soon as it can. */
  readonly aborted: boolean;
  /** Called by an abort while the command waits to reach the device. */
  onAbort: (() => void) | null;
  /** Called by {@link LogicalUnit.admit} when the limits of the volume allow the command. */
  admitted(): void;
  /** A buffer of `length` bytes for {@link good}, with whatever content. */
  allocate(length: number): Buffer;
  /** Ends the command with GOOD. `data` must come from {@link allocate}, or be small. */
  good(data?: Buffer): void;
  /** Ends the command with CHECK CONDITION. */
  check(sense: Sense): void;
  /** Ends the command with another status. */
  end(status: number): void;
}

/** Adds a unit attention condition unless the nexus has it already. */
export function addUnitAttention(nexus: Nexus, sense: Sense): void {
  if (!nexus.unitAttentions.some((known) => known.asc === sense.asc && known.ascq === sense.ascq)) {
    nexus.unitAttentions.push(sense);
  }
}
