/** Value of a capability. */
export type CapabilityValue = string | number | boolean;

type Operator = (value: CapabilityValue, operands: readonly string[]) => boolean;

const trueWords = new Set(['1', 't', 'true', 'on', 'y', 'yes']);
const falseWords = new Set(['0', 'f', 'false', 'off', 'n', 'no']);

/** The truth value that a word means, or `undefined`. */
function truth(value: CapabilityValue): boolean | undefined {
  const lower = String(value).trim().toLowerCase();
  if (trueWords.has(lower)) return true;
  return falseWords.has(lower) ? false : undefined;
}

const numbers =
  (compare: (a: number, b: number) => boolean): Operator =>
  (value, [operand = '']) => {
    const [a, b] = [Number(value), Number(operand)];
    return typeof value !== 'boolean' && operand !== '' && !Number.isNaN(a) && !Number.isNaN(b) && compare(a, b);
  };
const strings =
  (compare: (a: string, b: string) => boolean): Operator =>
  (value, [operand]) =>
    operand !== undefined && compare(String(value), operand);

/** The operators of Cinder's extra specs. As there, `=` on numbers means "at least". */
const operators: ReadonlyMap<string, Operator> = new Map<string, Operator>([
  ['=', numbers((a, b) => a >= b)],
  ['>=', numbers((a, b) => a >= b)],
  ['<=', numbers((a, b) => a <= b)],
  ['==', numbers((a, b) => a === b)],
  ['!=', numbers((a, b) => a !== b)],
  ['s==', strings((a, b) => a === b)],
  ['s!=', strings((a, b) => a !== b)],
  ['s<', strings((a, b) => a < b)],
  ['s<=', strings((a, b) => a <= b)],
  ['s>', strings((a, b) => a > b)],
  ['s>=', strings((a, b) => a >= b)],
  ['<in>', strings((a, b) => a.includes(b))],
  ['<all-in>', (value, operands) => operands.length > 0 && operands.every((operand) => String(value).includes(operand))],
  ['<is>', (value, [operand]) => operand !== undefined && (truth(value) ?? false) === (truth(operand) ?? false)],
]);

/**
 * Whether a capability meets what an extra spec demands: an operator and its operands, several alternatives
 * (`<or> a <or> b`), or just the value.
 */
export function meets(value: CapabilityValue, demand: string): boolean {
  const [operator = '', ...operands] = demand.trim().split(/\s+/);
  if (operator === '<or>') {
    // Every second word is `<or>` again.
    return operands.filter((_, index) => index % 2 === 0).includes(String(value));
  }
  const method = operators.get(operator);
  if (method !== undefined) return method(value, operands);
  return typeof value === 'boolean' ? truth(demand) === value : String(value) === demand.trim();
}
