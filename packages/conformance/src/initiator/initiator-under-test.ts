import type { Initiator } from '@scoria/core';
import type { TransportUnderTest } from '../transport/transport-under-test.ts';

/** An initiator that is connected to nothing, made for one test, and a transport whose volumes it can reach. */
export interface InitiatorUnderTest {
  readonly initiator: Initiator;
  /** A new initiator of the same host, as in a new process; needed with the capability `host-sessions`. */
  restart?(): Promise<Initiator>;
  /** Publishes the volumes of the test. Not started, and exports nothing. */
  readonly publisher: TransportUnderTest;
  /** Ends what the test left running on the initiator's side. */
  cleanup(): Promise<void>;
}
