/** The peer broke the protocol; the connection ends. */
export class ProtocolError extends Error {}
