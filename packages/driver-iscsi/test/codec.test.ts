import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BufferPool } from '../src/protocol/buffer-pool.ts';
import { compareSequence, joinData, makeHeader, nextSequence } from '../src/protocol/pdu.ts';
import { PduDecoder, PduFormatError } from '../src/protocol/pdu-decoder.ts';
import { formatText, parseText, TextFormatError } from '../src/protocol/text.ts';

const pdu = fc.record({
  opcode: fc.integer({ min: 0, max: 0x3f }),
  taskTag: fc.integer({ min: 0, max: 0xffffffff }),
  data: fc.uint8Array({ maxLength: 300 }),
  ahsWords: fc.integer({ min: 0, max: 3 }),
  placed: fc.boolean(),
});

describe('the PDU decoder', () => {
  test('finds the same PDUs wherever the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(pdu, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 60 }),
        (pdus, cuts) => {
          const stream = Buffer.concat(
            pdus.map(({ opcode, taskTag, data, ahsWords }) => {
              const whole = joinData(makeHeader(opcode, 0x80, taskTag), Buffer.from(data));
              whole[4] = ahsWords;
              return Buffer.concat([whole.subarray(0, 48), Buffer.alloc(4 * ahsWords, 0xee), whole.subarray(48)]);
            }),
          );
          const found: { opcode: number; taskTag: number; data: number[] }[] = [];
          let index = 0;
          const decoder = new PduDecoder(
            {
              place: (_bhs, length) => (pdus[index]?.placed ? Buffer.alloc(length) : null),
              pdu: (bhs, data) => {
                index++;
                found.push({ opcode: bhs[0]!, taskTag: bhs.readUInt32BE(16), data: [...data] });
              },
            },
            1024,
          );
          for (let at = 0, turn = 0; at < stream.length; turn++) {
            const length = cuts[turn % cuts.length]!;
            decoder.push(stream.subarray(at, at + length));
            at += length;
          }
          expect(found).toEqual(pdus.map(({ opcode, taskTag, data }) => ({ opcode, taskTag, data: [...data] })));
        },
      ),
    );
  });

  test('hands on a PDU that lies in one chunk without copying it', () => {
    const stream = joinData(makeHeader(1, 0x80, 7), Buffer.from('data'));
    const found: Buffer[] = [];
    new PduDecoder({ place: () => null, pdu: (bhs, data) => found.push(bhs, data) }, 8192).push(stream);
    expect(found.map((part) => part.buffer)).toEqual([stream.buffer, stream.buffer]);
  });

  test('takes any bytes without another error than its own, and never more than was allowed', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        const decoder = new PduDecoder(
          {
            place: () => null,
            pdu: (_bhs, data) => expect(data.length).toBeLessThanOrEqual(4096),
          },
          4096,
        );
        try {
          for (const chunk of chunks) decoder.push(Buffer.from(chunk));
        } catch (error) {
          expect(error).toBeInstanceOf(PduFormatError);
        }
      }),
    );
  });
});

describe('negotiation text', () => {
  test('comes back as it was sent', () => {
    const key = fc.stringMatching(/^[A-Za-z][A-Za-z0-9.\-+@_]{0,40}$/);
    const value = fc.stringMatching(/^[ -~]{0,100}$/);
    fc.assert(
      fc.property(fc.dictionary(key, value, { maxKeys: 20 }), (pairs) => {
        expect(Object.fromEntries(parseText(formatText(Object.entries(pairs))))).toEqual({ ...pairs });
      }),
    );
  });

  test.each(['=value\0', 'noequals\0', 'A=1\0A=2\0', `${'k'.repeat(64)}=1\0`, 'a key=1\0', `A=${'v'.repeat(9000)}\0`])(
    'is refused when it is malformed: %s',
    (text) => {
      expect(() => parseText(Buffer.from(text))).toThrow(TextFormatError);
    },
  );

  test('of any bytes is parsed or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => {
        try {
          parseText(Buffer.from(bytes));
        } catch (error) {
          expect(error).toBeInstanceOf(TextFormatError);
        }
      }),
    );
  });
});

describe('sequence numbers', () => {
  test('go on past the end of 32 bits', () => {
    expect(nextSequence(0xffffffff)).toBe(0);
    expect(compareSequence(0, 0xffffffff)).toBeGreaterThan(0);
    expect(compareSequence(0xfffffff0, 5)).toBeLessThan(0);
    expect(compareSequence(5, 5)).toBe(0);
  });
});

describe('the buffer pool', () => {
  test('gives buffers large enough, and the same again', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 3_000_000 }), (length) => {
        const pool = new BufferPool(48, 8_000_000);
        const buffer = pool.take(length);
        expect(buffer.length).toBeGreaterThanOrEqual(48 + length);
        pool.give(buffer);
        if (length <= 1_048_576) expect(pool.take(length)).toBe(buffer);
      }),
    );
  });

  test('keeps no more than it may', () => {
    const pool = new BufferPool(48, 5000);
    const [first, second] = [pool.take(4096), pool.take(4096)];
    pool.give(first);
    pool.give(second);
    expect(pool.take(4096)).toBe(first);
    expect(pool.take(4096)).not.toBe(second);
  });
});
