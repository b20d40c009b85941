import { ScoriaError } from '../error/scoria-error.ts';
import type { IoLimits, LimitedQuantity } from '../transport/io-limits.ts';
import type { QosSpec } from './qos-spec.ts';

/**
 * The keys of a QoS spec that have a meaning (Cinder, "Basic volume quality of service" and "Capacity based quality of
 * service"). Each may be followed by `_max`, what may come at once; by `_per_gb`, which replaces the plain value by a
 * multiple of the volume's size; and by `_per_gb_min`, below which that product does not fall.
 */
const quantityOf = {
  read_iops_sec: 'readOperations',
  write_iops_sec: 'writeOperations',
  total_iops_sec: 'totalOperations',
  read_bytes_sec: 'readBytes',
  write_bytes_sec: 'writeBytes',
  total_bytes_sec: 'totalBytes',
} as const satisfies Record<string, LimitedQuantity>;
const quantities = Object.entries(quantityOf);

const operationSizeKey = 'size_iops_sec';
const numericKeys = new Set([
  operationSizeKey,
  ...quantities.flatMap(([key]) => [key, `${key}_max`, `${key}_per_gb`, `${key}_per_gb_min`]),
]);

/** Largest value of a known key: with it a volume of a PiB still has limits that are exact numbers. */
const largestValue = 1_000_000_000;
/** Largest value of a key that counts bytes, or is not multiplied by a size. */
const largestPlainValue = 1_000_000_000_000;

const gibibyte = 2 ** 30;
/** Where a spec says nothing of bursts: what comes in this part of a second may come at once. */
const defaultBurst = 0.1;

type Specs = QosSpec['specs'];

/** Value of a known key; `0`, which stands for no limit, when it is absent. */
const valueOf = (specs: Specs, key: string): number => Number(specs[key] ?? 0);

/**
 * Refuses what no consumer could keep to: known keys that are not whole numbers, and bursts of what is not limited.
 * Throws `invalid-input` with the key.
 */
export function checkSpecs(specs: Specs): void {
  for (const [key, value] of Object.entries(specs)) {
    if (!numericKeys.has(key)) continue;
    const largest = key.endsWith('_per_gb') ? largestValue : largestPlainValue;
    if (!/^\d{1,13}$/.test(value) || Number(value) > largest) {
      throw new ScoriaError(
        'invalid-input',
        `QoS key ${key} must be a whole number from 0 to ${largest}, not '${value.slice(0, 64)}'.`,
      );
    }
  }
  for (const [key] of quantities) {
    const limited = `${key}_per_gb` in specs || key in specs;
    if (`${key}_max` in specs && !limited) {
      throw new ScoriaError('invalid-input', `QoS key ${key}_max says how far ${key} may be exceeded, so it needs that key too.`);
    }
    if (`${key}_per_gb_min` in specs && !(`${key}_per_gb` in specs)) {
      throw new ScoriaError(
        'invalid-input',
        `QoS key ${key}_per_gb_min is the least of ${key}_per_gb, so it needs that key too.`,
      );
    }
  }
}

/**
 * What a hypervisor is told about a volume of `size` bytes: keys that depend on the size become plain ones, as Cinder
 * does it; all else is passed on. `null` when the spec is not for the hypervisor.
 */
export function frontEndSpecs(spec: QosSpec | null, size: number): Record<string, string> | null {
  if (spec === null || spec.consumer === 'back-end') return null;
  const told: Record<string, string> = { ...spec.specs };
  for (const [key] of quantities) {
    if (!(`${key}_per_gb` in told)) continue;
    told[key] = String(rateOf(spec.specs, key, size));
    delete told[`${key}_per_gb`];
    delete told[`${key}_per_gb_min`];
  }
  return told;
}

/**
 * What the target holds a volume of `size` bytes to; `null` when it is not limited there. Without a burst of its own, a
 * tenth of a second's worth may come at once; a burst is never less than that (QEMU, "I/O throttling").
 */
export function backEndLimits(spec: QosSpec | null, size: number): IoLimits | null {
  if (spec === null || spec.consumer === 'front-end') return null;
  const rates = quantities.flatMap(([key, quantity]) => {
    const perSecond = rateOf(spec.specs, key, size);
    if (perSecond === 0) return [];
    const burst = Math.max(valueOf(spec.specs, `${key}_max`), perSecond * defaultBurst, 1);
    return [[quantity, { perSecond, burst }] as const];
  });
  if (rates.length === 0) return null;
  const operationSize = valueOf(spec.specs, operationSizeKey);
  return { ...Object.fromEntries(rates), ...(operationSize > 0 && { operationSize }) };
}

function rateOf(specs: Specs, key: string, size: number): number {
  const perGibibyte = specs[`${key}_per_gb`];
  if (perGibibyte === undefined) return valueOf(specs, key);
  return Math.max(Number(perGibibyte) * Math.ceil(size / gibibyte), valueOf(specs, `${key}_per_gb_min`));
}
