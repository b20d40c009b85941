import { compareSequence, nextSequence } from '../protocol/pdu.ts';
import type { LoggedIn } from './login-dialogue.ts';

/** The numbers of a session, as the initiator keeps them (RFC 7143, 4.2.2). */
export class SequenceNumbers {
  #cmdSN: number;
  #expStatSN: number;
  #maxCmdSN: number;

  constructor({ cmdSN, expStatSN, maxCmdSN }: LoggedIn) {
    this.#cmdSN = cmdSN;
    this.#expStatSN = expStatSN;
    this.#maxCmdSN = maxCmdSN;
  }

  /** CmdSN of the next command. */
  get cmdSN(): number {
    return this.#cmdSN;
  }

  get expStatSN(): number {
    return this.#expStatSN;
  }

  /** Whether the target admits another command. */
  get open(): boolean {
    return compareSequence(this.#cmdSN, this.#maxCmdSN) <= 0;
  }

  /** Uses up the number of a command. */
  takeCommand(): number {
    const taken = this.#cmdSN;
    this.#cmdSN = nextSequence(taken);
    return taken;
  }

  /** Takes the window of a PDU. It moves forward only (RFC 7143, 4.2.2.1). */
  takeWindow(bhs: Buffer): void {
    const expCmdSN = bhs.readUInt32BE(28);
    const maxCmdSN = bhs.readUInt32BE(32);
    if (compareSequence(maxCmdSN, expCmdSN) >= -1 && compareSequence(maxCmdSN, this.#maxCmdSN) > 0) this.#maxCmdSN = maxCmdSN;
  }

  /** Takes the number of a PDU that carries a status. */
  takeStatus(bhs: Buffer): void {
    this.#expStatSN = nextSequence(bhs.readUInt32BE(24));
  }
}
