import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { ScoriaError } from '@scoria/core/device';
import { flag, makeHeader, opcodeOf, responseOpcode, taskTagOf } from '../src/protocol/pdu.ts';
import { formatText } from '../src/protocol/text.ts';
import { HostileTarget, type Distort } from './hostile-target.ts';
import { connectDevice } from './initiator-fixture.ts';
import { TargetFixture } from './target-fixture.ts';

const numRuns = z.coerce.number().int().positive().default(25).parse(process.env['SCORIA_FUZZ_RUNS']);

/** Times after which an initiator must have given up, ms. */
const times = { loginDeadline: 400, patience: 250, pingInterval: 50, commandDeadline: 150, answerDeadline: 100 };

let target: TargetFixture;
const servers: HostileTarget[] = [];
beforeEach(async () => {
  target = await TargetFixture.exporting();
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
  await target.stop();
});

async function listen(server: HostileTarget): Promise<number> {
  servers.push(server);
  return server.start();
}

const distorted = (distort: Distort): Promise<number> => listen(HostileTarget.between(() => target.port, distort));

/** Uses a target in all ways. Whatever it does, this ends, and every failure is one that callers know. */
async function use(port: number): Promise<'worked' | ScoriaError> {
  try {
    const device = await connectDevice(port, { times });
    try {
      await device.write(Buffer.alloc(300_032, 5), 0);
      await device.read(Buffer.alloc(300_032), 0);
      for await (const _extent of device.allocatedExtents(0, device.size));
      await device.discard(0, Math.min(device.size, 1_048_576));
      await device.flush();
      await device.refreshSize();
    } finally {
      await device.close();
    }
    return 'worked';
  } catch (error) {
    if (error instanceof ScoriaError && error.code !== 'internal') return error;
    throw error;
  }
}

describe('an initiator is not brought down by a target that', { timeout: 600_000 }, () => {
  test.each([
    ['says nothing', () => {}],
    ['hangs up', (socket: { destroy(): unknown }) => void socket.destroy()],
    ['talks nonsense', (socket: { write(bytes: Buffer): unknown }) => void socket.write(Buffer.alloc(4096, 0xa5))],
  ] as const)('%s', async (_how, serve) => {
    const port = await listen(new HostileTarget(serve));
    expect(await use(port)).toMatchObject({ code: 'transport-failed' });
  });

  test.each([
    ['login that never ends', (bhs: Buffer) => bhs.fill(0x04, 1, 2), formatText([])],
    ['text that never ends', (bhs: Buffer) => bhs.fill(0x44, 1, 2), formatText([['a', 'b'.repeat(4000)]])],
  ] as const)('answers with a %s', async (_how, change, data) => {
    const port = await distorted((bhs) => {
      change(bhs);
      return [[bhs, data]];
    });
    expect(await use(port)).toMatchObject({ code: expect.stringMatching(/transport-failed|not-permitted/) });
  });

  test.each([
    ['more data than were asked for', responseOpcode.dataIn, (bhs: Buffer) => bhs.writeUInt32BE(0x7fff_0000, 40)],
    ['an answer to nothing', responseOpcode.scsiResponse, (bhs: Buffer) => bhs.writeUInt32BE(0x1234_5678, 16)],
    ['a request for more than there is', responseOpcode.r2t, (bhs: Buffer) => bhs.writeUInt32BE(0x00ff_ffff, 44)],
    ['a request for data from elsewhere', responseOpcode.r2t, (bhs: Buffer) => bhs.writeUInt32BE(0x0100_0000, 40)],
    ['an unknown opcode', responseOpcode.scsiResponse, (bhs: Buffer) => bhs.fill(0x3c, 0, 1)],
    ['a status unheard of', responseOpcode.scsiResponse, (bhs: Buffer) => bhs.fill(0x77, 3, 4)],
  ] as const)('sends %s', async (_what, opcode, change) => {
    const port = await distorted((bhs, data) => {
      if (opcodeOf(bhs) === opcode) change(bhs);
      return [[bhs, data]];
    });
    expect(await use(port)).toBeInstanceOf(ScoriaError);
  });

  test('asks for the same data without end', async () => {
    const port = await distorted((bhs, data) =>
      opcodeOf(bhs) === responseOpcode.r2t ? Array.from({ length: 64 }, () => [bhs, data] as const) : [[bhs, data]],
    );
    expect(await use(port)).toMatchObject({ code: 'device-gone' });
  });

  test('admits no command, and answers pings', async () => {
    const port = await distorted((bhs, data) => {
      if (opcodeOf(bhs) !== responseOpcode.login && opcodeOf(bhs) !== responseOpcode.nopIn) return [];
      // A window that ends before the next command.
      bhs.writeUInt32BE(bhs.readUInt32BE(28) - 1, 32);
      return [[bhs, data]];
    });
    expect(await use(port)).toMatchObject({ code: 'transport-failed' });
  });

  test('is always busy, or has always something to tell', async () => {
    const answering = (status: number, sense: Buffer): Promise<number> =>
      distorted((bhs, data) => {
        if (opcodeOf(bhs) !== responseOpcode.scsiResponse && opcodeOf(bhs) !== responseOpcode.dataIn) return [[bhs, data]];
        const answer = makeHeader(responseOpcode.scsiResponse, flag.final, taskTagOf(bhs));
        bhs.copy(answer, 24, 24, 36);
        answer[3] = status;
        return [[answer, sense]];
      });
    const attention = Buffer.alloc(20);
    Buffer.of(0, 18, 0x70, 0, 6).copy(attention);
    expect(await use(await answering(0x08, Buffer.alloc(0)))).toMatchObject({ code: 'transport-failed' });
    expect(await use(await answering(0x02, attention))).toMatchObject({ code: 'transport-failed' });
  });

  test('pings faster than it reads', async () => {
    const ping = makeHeader(responseOpcode.nopIn, flag.final, 0xffff_ffff);
    const port = await distorted((bhs, data) => {
      bhs.copy(ping, 28, 28, 36);
      return opcodeOf(bhs) === responseOpcode.login
        ? [[bhs, data]]
        : [...Array.from({ length: 1000 }, () => [ping, Buffer.alloc(0)] as const), [bhs, data]];
    });
    expect(String(await use(port))).toContain('pings without reading the answers');
  });

  test('mixes up its answers in any way', async () => {
    const mutation = fc.record({
      at: fc.nat({ max: 40 }),
      kind: fc.constantFrom('header', 'data', 'drop', 'repeat', 'cut', 'shorten'),
      place: fc.nat({ max: 47 }),
      value: fc.nat({ max: 255 }),
    });
    const results = { worked: 0, failed: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 6 }), async (mutations) => {
        let count = 0;
        const server = HostileTarget.between(
          () => target.port,
          (bhs, data) => {
            const number = count++;
            let copies = 1;
            let segment = data;
            for (const { at, kind, place, value } of mutations) {
              if (at !== number) continue;
              if (kind === 'cut') return null;
              // The length of the data segment is that of the data.
              if (kind === 'header' && (place < 4 || place > 7)) bhs[place] = value;
              if (kind === 'data' && segment.length > 0) segment[(place * value) % segment.length] = value;
              if (kind === 'shorten') segment = segment.subarray(0, (segment.length * value) >> 8);
              if (kind === 'drop') copies = 0;
              if (kind === 'repeat') copies = 2;
            }
            return Array.from({ length: copies }, () => [bhs, segment] as const);
          },
        );
        const port = await server.start();
        try {
          if ((await use(port)) === 'worked') results.worked++;
          else results.failed++;
        } finally {
          await server.stop();
        }
      }),
      { numRuns },
    );
    expect(results.worked).toBeGreaterThan(0);
    expect(results.failed).toBeGreaterThan(0);
  });
});
