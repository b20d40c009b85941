import type { ScoriaError } from '@scoria/core/device';
import type { Sense } from '../scsi/sense.ts';

/** The end of a SCSI command (SAM-5, 5.1). */
export interface CommandReply {
  /** SCSI status (SAM-5, 5.3.1). */
  readonly status: number;
  readonly sense: Sense | null;
  /** Bytes of Data-In that came. */
  readonly received: number;
}

/** A SCSI command on its way, and how far it is. A new session begins it anew with the same bytes. */
export class SessionCommand {
  /** 16 bytes. */
  readonly cdb: Buffer;
  /** Where the target's data go; its length is what is expected. */
  readonly dataIn: Buffer | null;
  /** What the target asks for; must not change before the command has ended. */
  readonly dataOut: Buffer | null;
  /** Bytes of Data-In that came in this attempt. */
  received = 0;
  /** Bytes of Data-Out that were asked for or sent unasked in this attempt. */
  requested = 0;
  r2tSN = 0;
  cmdSN = 0;
  /** Whether the target was asked to abort it. */
  aborting = false;
  /** How often it was sent. */
  attempts = 0;
  /** When it was made, queued in this session, and sent last, on the monotonic clock. */
  readonly createdAt: number;
  queuedAt = 0;
  sentAt = 0;
  readonly #settle: (reply: CommandReply) => void;
  readonly #lost: (error: ScoriaError) => void;

  /** @param lost - called when the session ended before the command did. */
  constructor(
    createdAt: number,
    cdb: Buffer,
    dataIn: Buffer | null,
    dataOut: Buffer | null,
    settle: (reply: CommandReply) => void,
    lost: (error: ScoriaError) => void,
  ) {
    this.createdAt = createdAt;
    this.cdb = cdb;
    this.dataIn = dataIn;
    this.dataOut = dataOut;
    this.#settle = settle;
    this.#lost = lost;
  }

  /** Length of the data, bytes: the Expected Data Transfer Length of RFC 7143, 11.3.4. */
  get length(): number {
    return (this.dataOut ?? this.dataIn)?.length ?? 0;
  }

  begin(cmdSN: number, now: number): void {
    this.cmdSN = cmdSN;
    this.sentAt = now;
    this.attempts++;
    this.received = 0;
    this.requested = 0;
    this.r2tSN = 0;
    this.aborting = false;
  }

  end(status: number, sense: Sense | null): void {
    this.#settle({ status, sense, received: this.received });
  }

  lose(error: ScoriaError): void {
    this.#lost(error);
  }
}
