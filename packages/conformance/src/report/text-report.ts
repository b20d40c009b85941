import { stripVTControlCharacters } from 'node:util';
import type { CheckResult } from '../run-checks.ts';
import type { Report } from './report.ts';

const signs = { passed: 'ok  ', failed: 'FAIL', skipped: 'skip' } as const;

/** One line for a result; a failure adds the line of the contract and the reason. */
export function resultText(result: CheckResult): string {
  const { outcome, id, demand, contract, reason, ms } = result;
  const line = `${signs[outcome]}  ${id.padEnd(28)} ${demand}`;
  if (outcome === 'passed') return `${line} (${ms} ms)`;
  if (outcome === 'skipped') return `${line}\n        skipped: ${reason}`;
  const why = stripVTControlCharacters(reason ?? '').replaceAll('\n', '\n        ');
  return `${line} (${ms} ms)\n        contract: ${contract}\n        ${why}`;
}

/** What stands at the end of a report on a terminal. */
export function summaryText(report: Report): string {
  const { suite, suiteVersion, name, version, capabilities, passed, failed, skipped, hash } = report;
  return [
    `${name} ${version}, ${suite} suite ${suiteVersion}, capabilities: ${capabilities.join(', ') || 'none'}`,
    `${passed} passed, ${failed} failed, ${skipped} skipped`,
    `sha256 ${hash}`,
  ].join('\n');
}

/** The whole report for a terminal. */
export function textReport(report: Report): string {
  return `${report.results.map(resultText).join('\n')}\n\n${summaryText(report)}\n`;
}
