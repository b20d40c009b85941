import { flag } from '../protocol/pdu.ts';
import type { InitiatorConnection } from './initiator-connection.ts';
import type { InitiatorParameters } from './operational-offer.ts';

/**
 * How much of a command's data goes out without being asked for, in the command or behind it, bytes (RFC 7143, 13.10,
 * 13.11 and 13.14).
 */
export function unsolicitedLength(length: number, parameters: Readonly<InitiatorParameters>): number {
  const { immediateData, initialR2T, firstBurstLength, targetMaxRecvDataSegmentLength } = parameters;
  if (initialR2T && !immediateData) return 0;
  const first = Math.min(length, firstBurstLength);
  return initialR2T ? Math.min(first, targetMaxRecvDataSegmentLength) : first;
}

/**
 * Sends a range of a command's data as Data-Out PDUs (RFC 7143, 11.7), the last one final, numbered from 0.
 *
 * @param header - of these PDUs, with task and transfer tag.
 */
export function sendData(
  connection: InitiatorConnection,
  header: Buffer,
  data: Buffer,
  from: number,
  to: number,
  { targetMaxRecvDataSegmentLength }: Readonly<InitiatorParameters>,
): void {
  let number = 0;
  for (let at = from; at < to;) {
    const end = Math.min(to, at + targetMaxRecvDataSegmentLength);
    const bhs = end < to ? Buffer.from(header) : header;
    bhs.writeUInt32BE(number++, 36);
    bhs.writeUInt32BE(at, 40);
    if (end === to) bhs[1] = flag.final;
    connection.send(bhs, data.subarray(at, end));
    at = end;
  }
}
