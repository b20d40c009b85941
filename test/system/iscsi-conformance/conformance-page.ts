import type { ConformanceResult } from './conformance-program.ts';
import { faultsOfTheProgram } from './faults-of-the-program.ts';

/** Results of one way to log in. */
export interface ConformanceRun {
  /** Heading of its column. */
  readonly login: string;
  readonly results: readonly ConformanceResult[];
}

/** How many tests ended in each way. */
export function totals(results: readonly ConformanceResult[]): string {
  const count = (outcome: ConformanceResult['outcome']) => results.filter((result) => result.outcome === outcome).length;
  return `${count('passed')} passed, ${count('skipped')} skipped, ${count('failed')} failed`;
}

/** The page of documentation about runs of the same tests. */
export function conformancePage(runs: readonly ConformanceRun[]): string {
  const rows = (runs[0]?.results ?? []).map(({ test }) => {
    const each = runs.map(({ results }) => results.find((result) => result.test === test));
    const reasons = new Set(each.map((result) => faultsOfTheProgram[test] ?? result?.reason ?? '').filter(Boolean));
    return [test, ...each.map((result) => result?.outcome ?? 'not run'), [...reasons].join('; ').replaceAll('|', '/')];
  });
  const header = ['test', ...runs.map(({ login }) => login), 'why not passed'];
  return `# The embedded target and libiscsi's test program

Made by the system test \`test/system/iscsi-conformance.test.ts\`, which runs every test of \`iscsi-test-cu\` (families SCSI and
iSCSI, destructive ones included) in a process of its own and fails when a result differs from this page. To renew it:
\`npm run test:system -- test/system/iscsi-conformance.test.ts -u\`.

${runs.map(({ login, results }) => `- ${login}: ${totals(results)}`).join('\n')}

A failure that stands here is a fault of the test itself, with the proof beside it. What is skipped is optional in the
standards and not offered by the target.

${table(header, rows)}
`;
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[], fill = ' ') =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0, fill)).join(' | ')} |`;
  return [
    line(header),
    line(
      header.map(() => ''),
      '-',
    ),
    ...rows.map((row) => line(row)),
  ].join('\n');
}
