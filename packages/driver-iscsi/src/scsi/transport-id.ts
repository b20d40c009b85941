/** Protocol identifier of iSCSI (SPC-4, 7.6.1), and the format with an ISID (7.6.4.6). */
const iscsiWithSession = 0x45;
/** Longest TransportID: header, name of 223 bytes, separator, ISID, NUL and padding. */
const maxLength = 248;
/** Shortest additional length (SPC-4, 7.6.4.6). */
const minAdditionalLength = 20;

/**
 * Name of an iSCSI initiator port: the initiator's name and the ISID, as a TransportID has them (SPC-4, 7.6.4.6;
 * RFC 7143, 4.4.2). Names differ by more than letter case.
 *
 * @param isid - 12 hexadecimal digits.
 */
export const initiatorPortName = (initiatorName: string, isid: string): string => `${initiatorName},i,0x${isid}`.toLowerCase();

/** The TransportID of an initiator port. */
export function formatTransportId(initiatorPort: string): Buffer {
  const name = Buffer.from(initiatorPort, 'utf8');
  // At least one NUL ends the name, and the whole is a multiple of four.
  const length = Math.max(minAdditionalLength, Math.ceil((name.length + 1) / 4) * 4);
  const id = Buffer.alloc(4 + length);
  id[0] = iscsiWithSession;
  id.writeUInt16BE(length, 2);
  name.copy(id, 4);
  return id;
}

/** The initiator port that a TransportID names; `null` for one that is malformed or names no iSCSI initiator port. */
export function parseTransportId(id: Buffer): string | null {
  if (id.length < 4 + minAdditionalLength || id.length > maxLength || id[0] !== iscsiWithSession) return null;
  const length = id.readUInt16BE(2);
  if (length % 4 !== 0 || id.length !== 4 + length) return null;
  const end = id.indexOf(0, 4);
  if (end < 0) return null;
  const port = id.toString('utf8', 4, end).toLowerCase();
  return /^[^\s\p{Cc},]{1,223},i,0x[0-9a-f]{12}$/u.test(port) ? port : null;
}
