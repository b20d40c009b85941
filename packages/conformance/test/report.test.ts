import { htmlReport, reportHash, reportOf, textReport, type CheckResult } from '@scoria/conformance';
import { expect, test } from 'vitest';

const subject = { suite: 'driver', name: '@acme/driver', version: '1.2.3', capabilities: ['revert', 'clone'] } as const;
const result = (id: string, more: Partial<CheckResult> = {}): CheckResult => ({
  id,
  verb: 'create',
  contract: 'Makes an empty volume that reads as zeroes.',
  demand: 'a new volume reads as zeroes',
  needs: [],
  outcome: 'passed',
  ms: 3,
  ...more,
});
const results = [
  result('create-zeroes'),
  result('create-size', { outcome: 'failed', reason: 'only 7 bytes <made>\n\u001b[31mred\u001b[0m' }),
  result('clone-content', { outcome: 'skipped', reason: 'the driver does not declare "clone"' }),
];

test('the hash is that of the outcome: neither times, reasons nor order change it', () => {
  const hash = reportHash(subject, results);
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
  const slower = results.toReversed().map((each) => ({ ...each, ms: 99, ...(each.reason && { reason: 'another' }) }));
  expect(reportHash({ ...subject, capabilities: ['clone', 'revert'] }, slower)).toBe(hash);
});

test('the hash changes with an outcome, a check, the version and the capabilities', () => {
  const hashes = [
    reportHash(subject, results),
    reportHash(
      subject,
      results.map((each) => ({ ...each, outcome: 'passed' })),
    ),
    reportHash(subject, results.slice(1)),
    reportHash({ ...subject, version: '1.2.4' }, results),
    reportHash({ ...subject, capabilities: [] }, results),
    reportHash({ ...subject, suite: 'transport' }, results),
  ];
  expect(new Set(hashes).size).toBe(hashes.length);
});

test('a report counts, and survives JSON', () => {
  const report = reportOf(subject, results);
  expect(report).toMatchObject({ passed: 1, failed: 1, skipped: 1, capabilities: ['clone', 'revert'] });
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
});

test('the text shows failures with their line of the contract, and skips with their reason, without control characters', () => {
  const text = textReport(reportOf(subject, results));
  expect(text).toContain('FAIL  create-size');
  expect(text).toContain('contract: Makes an empty volume that reads as zeroes.');
  expect(text).toContain('skipped: the driver does not declare "clone"');
  expect(text).toContain('1 passed, 1 failed, 1 skipped');
  expect(text).not.toContain('\u001b');
});

test('the page is one file without scripts, and nothing in it is taken as markup', () => {
  const page = htmlReport(reportOf({ ...subject, name: '<script>alert(1)</script>' }, results));
  expect(page).toContain('&lt;script&gt;alert(1)');
  expect(page).toContain('only 7 bytes &lt;made&gt;');
  expect(page).not.toMatch(/<script|<link|src=|href=|url\(/);
  expect(page).toContain(reportOf({ ...subject, name: '<script>alert(1)</script>' }, results).hash);
});
