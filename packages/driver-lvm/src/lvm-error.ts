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

/** What an LVM command said, without its warnings about file descriptors and the like. */
function said({ stdout, stderr }: CommandResult): string {
  const lines = (stderr.trim() || stdout.trim()).split('\n').map((line) => line.trim());
  const plain = lines.filter((line) => !/^(WARNING:|File descriptor )/.test(line));
  return (plain.length > 0 ? plain : lines).join(' ').slice(0, 1_000);
}

/** An LVM command that failed. Its code follows from what LVM said. */
export class LvmError extends ScoriaError {
  readonly failure: LvmFailure;

  constructor(what: string, result: CommandResult) {
    const told = said(result);
    const failure = words.find(([, pattern]) => pattern.test(told))?.[0] ?? 'other';
    super(codes[failure], `LVM could not ${what} (exit status ${result.exitCode}): ${told || 'it said nothing'}`, {
      details: { exitCode: result.exitCode },
    });
    this.failure = failure;
  }
}

/** Whether an error is LVM's word that something is there already, is missing, and so on. */
export const isFailure = (error: unknown, failure: LvmFailure): error is LvmError =>
  error instanceof LvmError && error.failure === failure;
