import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** What a {@link FaultyProxy} may do to a chunk. */
export type ProxyFault = 'cut' | 'truncate' | 'delay' | 'corrupt';

/** Bytes of a connection that always pass, so that logins succeed now and then. */
const spared = 8_192;

/**
 * A TCP proxy that does harm under a seed: it cuts connections, cuts in the middle of a chunk, delays, and flips bits, each
 * time after about `every` bytes.
 */
export class FaultyProxy {
  /** How often each harm was done. */
  readonly done: Record<ProxyFault, number> = { cut: 0, truncate: 0, delay: 0, corrupt: 0 };
  readonly #every: number;
  /** Bytes that pass until harm is done. */
  #left: number;
  readonly #targetPort: () => number;
  readonly #faults: readonly ProxyFault[];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #state: number;

  /** @param every - bytes between two harms, on average. */
  constructor(targetPort: () => number, faults: readonly ProxyFault[], seed: number, every = 1_048_576) {
    this.#targetPort = targetPort;
    this.#faults = faults;
    this.#state = seed;
    this.#every = every;
    this.#left = this.#next();
    this.#server = createServer((client) => this.#serve(client));
  }

  async start(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
    return address.port;
  }

  /** Does no harm from here on. */
  rest(): void {
    this.#left = Infinity;
  }

  /** Cuts all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  /** A number from 0 up to 1 (a linear congruential generator). */
  #random(): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#state / 2 ** 32;
  }

  #next(): number {
    return 2 * this.#every * this.#random();
  }

  #serve(client: Socket): void {
    const target = connect({ port: this.#targetPort(), host: '127.0.0.1', noDelay: true });
    client.setNoDelay(true);
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(from);
      let passed = 0;
      from.on('data', (chunk: Buffer) => {
        passed += chunk.length;
        if (passed > spared) this.#left -= chunk.length;
        if (this.#left > 0 || this.#faults.length === 0) return void to.write(chunk);
        this.#left = this.#next();
        this.#harm(chunk, from, to);
      });
      from.on('error', () => {});
      from.on('close', () => {
        this.#sockets.delete(from);
        to.destroy();
      });
    }
  }

  #harm(chunk: Buffer, from: Socket, to: Socket): void {
    const fault = this.#faults[Math.floor(this.#random() * this.#faults.length)]!;
    const at = Math.floor(this.#random() * chunk.length);
    this.done[fault]++;
    if (fault === 'cut') return void from.destroy();
    if (fault === 'truncate') return void to.end(chunk.subarray(0, at));
    if (fault === 'delay') {
      from.pause();
      setTimeout(() => from.resume(), 1 + this.#random() * 20);
    } else chunk[at] = chunk[at]! ^ (1 << Math.floor(this.#random() * 8));
    to.write(chunk);
  }
}
