import type { CheckResult } from '../run-checks.ts';
import type { Report } from './report.ts';

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

const style = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; background: #fff }
h1 { margin-bottom: 0 } code { font-size: 0.9em; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.6rem; border-bottom: 1px solid #ddd }
td small { color: #555 } pre { white-space: pre-wrap; margin: 0.3rem 0 0; color: #a00 }
.passed { color: #175f17 } .failed { color: #a00; font-weight: 600 } .skipped { color: #666 }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #1b1b1b } td small { color: #aaa } th, td { border-color: #444 }
  .passed { color: #7c7 } .failed, pre { color: #f88 } .skipped { color: #aaa } }`;

/** The report as one file that needs nothing else. No part of it is taken as markup. */
export function htmlReport(report: Report): string {
  const { suite, suiteVersion, name, version, capabilities, passed, failed, skipped, hash, results } = report;
  const title = `${name} ${version}: ${suite} conformance`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${style}
</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p>Suite ${escaped(suiteVersion)}. Capabilities: ${escaped(capabilities.join(', ') || 'none')}.</p>
<p><span class="passed">${passed} passed</span>, <span class="failed">${failed} failed</span>, <span class="skipped">${skipped} skipped</span></p>
<p>SHA-256 of the outcome: <code>${escaped(hash)}</code></p>
<table>
<thead><tr><th>Outcome</th><th>Check</th><th>Verb</th><th>Demand and line of the contract</th><th>ms</th></tr></thead>
<tbody>
${results.map(row).join('\n')}
</tbody>
</table>
</body>
</html>
`;
}

function row({ id, verb, demand, contract, outcome, reason, ms }: CheckResult): string {
  const why = reason === undefined ? '' : `<pre>${escaped(reason)}</pre>`;
  return (
    `<tr id="${escaped(id)}"><td class="${outcome}">${outcome}</td><td><code>${escaped(id)}</code></td><td>${escaped(verb)}</td>` +
    `<td>${escaped(demand)}<br><small>“${escaped(contract)}”</small>${why}</td><td>${ms}</td></tr>`
  );
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? character);
}
