import { ScoriaError, type CommandResult, type ErrorCode } from '@scoria/core';

/** What the words of an LVM command that failed mean. */
export type LvmFailure = 'exists' | 'missing' | 'busy' | 'no-space' | 'unavailable' | 'unknown-option' | 'other';

/**
 * LVM tells nearly every failure by exit status 5 (lvm(8)), so that its words have to be read. The first that fits counts:
 * a missing group is also told by words about logical volumes.
 */
const words: readonly (readonly [LvmFailure, RegExp])[] = [
  ['unknown-option', /unrecognized option/i],
  ['exists', /already exists in volume group|Logical volume name .* already in use/i],
  [
    'unavailable',
    /Volume group .* (not found|is exported)|Cannot process volume group|PVs? (are|is) missing|missing PVs|is partial|missing physical volumes?|Couldn't find device|Refusing (refresh|activation) of partial/i,
  ],
  [
    'missing',
    /Failed to find logical volume|logical volume .* not found|not found in volume group|One or more specified logical volume/i,
  ],
  ['busy', /in use|is open|open snapshot|used by another device|Device or resource busy|filesystem in use/i],
  [
    'no-space',
    /insufficient (free space|suitable)|not enough (free )?(space|extents|PVs)|free space in thin pool .* reached threshold|out of (data|metadata) space|No space left|exceeds? .*(maximum|limit)|larger than maximum|too large|No free extents|free extents? \(?available/i,
  ],
];

const codes: Readonly<Record<LvmFailure, ErrorCode>> = {
  exists: 'conflict',
  missing: 'backend-object-missing',
  busy: 'backend-busy',
  'no-space': 'device-no-space',
  unavailable: 'backend-unavailable',
  'unknown-option': 'backend-failed',
  other: 'backend-failed',
};

const remedies: Partial<Readonly<Record<LvmFailure, string>>> = {
  unavailable: 'See what "pvs" says of the disks; the drills in the guide to LVM tell how disks and metadata come back.',
};
/** What mends faulty thin pools, by LVM's words for the fault. */
const poolRemedies: readonly (readonly [RegExp, string])[] = [
  [/Manual repair required/i, 'Run "lvconvert --repair" on the pool while it is inactive; see the drills in the guide to LVM.'],
  [/read-only metadata/i, 'The metadata of the pool are full, or need a check; see the drills in the guide to LVM.'],
];

/** Warnings that tell the cause of a failure; all others say what does no harm. */
const causes = /bad metadata|unexpected transaction id|read-only metadata|in metadata of thin pool/i;

/** What an LVM command said: its errors, and the warnings that tell why. */
function said({ stdout, stderr }: CommandResult): { readonly errors: string; readonly warnings: string } {
  const lines = (stderr.trim() || stdout.trim()).split('\n').map((line) => line.trim());
  const plain = lines.filter((line) => !/^(WARNING:|File descriptor )/.test(line));
  const told = plain.length > 0 ? plain : lines;
  const warnings = lines.filter((line) => line.startsWith('WARNING:') && causes.test(line) && !told.includes(line));
  return { errors: told.join(' ').slice(0, 1_000), warnings: [...new Set(warnings)].join(' ').slice(0, 500) };
}

/** An LVM command that failed. Its code follows from what LVM said. */
export class LvmError extends ScoriaError {
  readonly failure: LvmFailure;

  constructor(what: string, result: CommandResult) {
    const { errors, warnings } = said(result);
    const failure = failureOf(errors, warnings);
    const faults = `${errors} ${warnings}`;
    const remedy = poolRemedies.find(([pattern]) => pattern.test(faults))?.[1] ?? remedies[failure];
    const told = [errors || 'it said nothing', ...(warnings === '' ? [] : [warnings])].join(' ');
    super(codes[failure], `LVM could not ${what} (exit status ${result.exitCode}): ${told}`, {
      details: { exitCode: result.exitCode },
      ...(remedy !== undefined && { remedy }),
    });
    this.failure = failure;
  }
}

function failureOf(errors: string, warnings: string): LvmFailure {
  // LVM calls a pool full that is faulty, or not the one that its metadata tell of.
  if (/unexpected transaction id|read-only metadata/i.test(warnings)) return 'other';
  return words.find(([, pattern]) => pattern.test(errors))?.[0] ?? 'other';
}

/** Whether an error is LVM's word that something is there already, is missing, and so on. */
export const isFailure = (error: unknown, failure: LvmFailure): error is LvmError =>
  error instanceof LvmError && error.failure === failure;
