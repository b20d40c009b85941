import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { PduDecoder } from '../src/protocol/pdu-decoder.ts';
import { framePdu } from '../src/protocol/digest.ts';

const plain = { header: false, data: false };

/** What a {@link HostileTarget} sends in the place of a PDU of the real target: PDUs, or `null` for the end. */
export type Distort = (bhs: Buffer, data: Buffer) => readonly (readonly [Buffer, Buffer])[] | null;

/** A server that stands between an initiator and a target and changes what the target says, PDU by PDU. */
export class HostileTarget {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  /** @param serve - what is done with a connection of an initiator. */
  constructor(serve: (client: Socket) => void) {
    this.#server = createServer((client) => {
      this.keep(client);
      serve(client);
    });
  }

  /** A target that distorts what the one at `port` says, without digests. */
  static between(port: () => number, distort: Distort): HostileTarget {
    const hostile: HostileTarget = new HostileTarget((client) => {
      const target = hostile.keep(connect({ port: port(), host: '127.0.0.1', noDelay: true }));
      client.on('data', (chunk) => target.write(chunk));
      client.on('close', () => target.destroy());
      target.on('close', () => client.destroy());
      const pdu = (bhs: Buffer, data: Buffer): void => {
        const answer = distort(Buffer.from(bhs), Buffer.from(data));
        if (answer === null) return void client.destroy();
        for (const [header, segment] of answer) client.write(framePdu(header, segment, plain));
      };
      const decoder = new PduDecoder({ place: () => null, pdu }, 0xffffff);
      target.on('data', (chunk: Buffer) => decoder.push(chunk));
    });
    return hostile;
  }

  keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
    return socket;
  }

  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the server has no port');
    return address.port;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
