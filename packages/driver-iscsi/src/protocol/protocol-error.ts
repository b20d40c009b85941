/** The initiator broke the protocol; its connection ends. */
export class ProtocolError extends Error {}
