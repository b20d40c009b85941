import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseMetadataLiteral } from '../../src/api/metadata-literal.ts';

// zod leaves the key `__proto__` out, and so may we.
const keys = fc.string({ maxLength: 20 }).filter((key) => key !== '__proto__');
const dictionaries = fc.dictionary(keys, fc.string({ maxLength: 20 }), {
  maxKeys: 5,
  noNullPrototype: true,
});

/** Writes a string as Python's repr() does. */
function repr(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escaped = [...text].map((char) => {
    const code = char.codePointAt(0) ?? 0;
    if (char === '\\' || char === quote) return `\\${char}`;
    if (char === '\n') return '\\n';
    if (code < 0x20 || code === 0x7f) return `\\x${code.toString(16).padStart(2, '0')}`;
    return char;
  });
  return quote + escaped.join('') + quote;
}

test('a dictionary of strings is read as JSON and as Python write it', () => {
  fc.assert(
    fc.property(dictionaries, (wanted) => {
      const python = `{${Object.entries(wanted)
        .map(([key, value]) => `${repr(key)}: ${repr(value)}`)
        .join(', ')}}`;
      expect(parseMetadataLiteral(JSON.stringify(wanted))).toEqual(wanted);
      expect(parseMetadataLiteral(python)).toEqual(wanted);
    }),
  );
});

test.each([
  '',
  'x',
  '{',
  "{'a'}",
  "{'a': 1}",
  "{'a': 'b' 'c': 'd'}",
  "{'a': 'b', 'c'}",
  '{"a": ["b"]}',
  "{'a': __import__('os')}",
  `{'a': '${'x'.repeat(9000)}'}`,
])('%s is none', (source) => {
  expect(parseMetadataLiteral(source)).toBeUndefined();
});

test('anything else ends in nothing, soon', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), (noise) => {
      const result = parseMetadataLiteral(`{${noise}}`);
      expect(result === undefined || typeof result === 'object').toBe(true);
    }),
  );
  const begin = performance.now();
  parseMetadataLiteral(`{${"'".repeat(8000)}}`);
  parseMetadataLiteral(`{${"'\\".repeat(4000)}}`);
  expect(performance.now() - begin).toBeLessThan(500);
});
