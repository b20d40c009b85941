import { run } from '../programs.ts';

/** What came of one test of libiscsi's test program. */
export interface ConformanceResult {
  /** `FAMILY.Suite.Test`. */
  readonly test: string;
  readonly outcome: 'passed' | 'skipped' | 'failed';
  /** Why it was skipped or failed, in the program's words. */
  readonly reason: string;
}

/** Families whose tests are not the same tests again under another name. */
const families = ['SCSI', 'iSCSI'];

/**
 * Tests that are run with the one before them in the same process: it sets what they read
 * (`LUNResetSimpleAsync` counts on the callback that `AbortTaskSimpleAsync` has put in place).
 */
const needNeighbours: Readonly<Record<string, string>> = { 'iSCSI.iSCSITMF.LUNResetSimpleAsync': 'iSCSI.iSCSITMF' };

const program = 'iscsi-test-cu';
const deadline = 60_000;
/** Names that the program logs in with when it needs two initiators. */
const initiatorOptions = (name: string | undefined) => (name === undefined ? [] : ['-i', name, '-I', name]);

/** All tests of the program. */
export async function conformanceTests(): Promise<readonly string[]> {
  const { stdout } = await run(program, ['--list'], { must: true });
  return stdout.split('\n').filter((name) => name.split('.').length === 3 && families.includes(name.split('.')[0] ?? ''));
}

/**
 * Runs one test in a process of its own.
 *
 * @param urls - the logical unit, and another way to it for the tests that want several.
 * @param initiator - name to log in with. Default: the program's own two.
 */
export async function runConformanceTest(test: string, urls: readonly string[], initiator?: string): Promise<ConformanceResult> {
  const asked = needNeighbours[test] ?? test;
  const args = ['--dataloss', '--allow-sanitize', '--fail', ...initiatorOptions(initiator), '-t', asked, ...urls];
  const { stdout, stderr } = await run(program, args, { deadline });
  const [, name = ''] = /\.([^.]+)$/.exec(test) ?? [];
  const told = new RegExp(`^  Test: ${name} \\.\\.\\.(.*?)(?=^  Test: |^Suite: |^Run Summary)`, 'ms').exec(stdout + stderr)?.[1];
  if (told === undefined)
    return { test, outcome: 'failed', reason: `the program told nothing: ${(stdout + stderr).slice(-300)}` };
  if (/^FAILED|^\s+\d+\. .* - CU_/m.test(told)) return { test, outcome: 'failed', reason: lineWith(told, /^\s+\d+\. (.*)$/m) };
  if (told.includes('[SKIPPED]')) return { test, outcome: 'skipped', reason: lineWith(told, /\[SKIPPED\] (.*)$/m) };
  return { test, outcome: 'passed', reason: '' };
}

function lineWith(text: string, pattern: RegExp): string {
  return pattern.exec(text)?.[1]?.replaceAll(/\s+/g, ' ').trim() ?? text.trim().slice(0, 300);
}
