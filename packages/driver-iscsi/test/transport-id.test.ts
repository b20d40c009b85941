import { describe, expect, test } from 'vitest';
import { formatTransportId, initiatorPortName, parseTransportId } from '../src/scsi/transport-id.ts';

describe('a TransportID', () => {
  test('has the name with its ISID, ended by NUL, in a multiple of four bytes', () => {
    for (const name of ['iqn.2026-11.test:a', 'iqn.2026-11.test:ab', `iqn.${'x'.repeat(219)}`]) {
      const id = formatTransportId(initiatorPortName(name, '00023D000001'));
      expect(id.length % 4).toBe(0);
      expect(id.readUInt16BE(2)).toBe(id.length - 4);
      expect(id.at(-1)).toBe(0);
      expect(parseTransportId(id)).toBe(`${name},i,0x00023d000001`);
    }
  });

  test.each([
    ['of another protocol', (id: Buffer) => (id[0] = 0x46)],
    ['without an ISID', (id: Buffer) => (id[0] = 0x05)],
    ['with a wrong length', (id: Buffer) => id.writeUInt16BE(8, 2)],
    ['without an end', (id: Buffer) => id.fill(0x61, 4)],
    ['with a blank in the name', (id: Buffer) => (id[6] = 0x20)],
  ])('%s is refused', (_what, damage) => {
    const id = formatTransportId(initiatorPortName('iqn.2026-11.test:a', '00023d000001'));
    damage(id);
    expect(parseTransportId(id)).toBeNull();
  });
});
