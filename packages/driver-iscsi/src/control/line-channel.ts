import type { Socket } from 'node:net';
import type { z } from 'zod';

/** Longest message, bytes; a list of many thousand exports fits. */
const maxLineLength = 16_777_216;

/**
 * Messages as lines of JSON over a socket, each checked against a schema. A peer that sends something else, or lines
 * without end, loses its connection.
 */
export class LineChannel<Message> {
  readonly #socket: Socket;
  readonly #schema: z.ZodType<Message>;
  readonly #onMessage: (message: Message) => void;
  readonly #closed = Promise.withResolvers<void>();
  #parts: Buffer[] = [];
  #length = 0;

  constructor(socket: Socket, schema: z.ZodType<Message>, onMessage: (message: Message) => void) {
    this.#socket = socket;
    this.#schema = schema;
    this.#onMessage = onMessage;
    socket.on('data', (chunk: Buffer) => this.#push(chunk));
    socket.on('error', () => this.close());
    socket.on('end', () => this.close());
    socket.on('close', () => this.close());
  }

  /** Settles when the connection is gone. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  send(message: object): void {
    if (!this.#socket.destroyed) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Sends what is queued, then ends the connection. */
  end(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.destroy();
    this.#closed.resolve();
  }

  #push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#socket.destroyed) {
      const end = chunk.indexOf(0x0a, at);
      const part = chunk.subarray(at, end < 0 ? chunk.length : end);
      this.#parts.push(part);
      this.#length += part.length;
      if (this.#length > maxLineLength) return this.close();
      if (end < 0) return;
      at = end + 1;
      const line = Buffer.concat(this.#parts).toString('utf8');
      this.#parts = [];
      this.#length = 0;
      this.#take(line);
    }
  }

  #take(line: string): void {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      return this.close();
    }
    const parsed = this.#schema.safeParse(value);
    if (parsed.success) this.#onMessage(parsed.data);
    else this.close();
  }
}
