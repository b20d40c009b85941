import { parseArgs } from 'node:util';

/** How the program is used. */
export const usage = `Usage: scoria-conformance --plugin NAME [--config FILE] [options]

Runs the conformance suite that fits a plug-in: a volume driver's or a transport's.

  --plugin NAME        package or file that exports the plug-in by default
  --config FILE        its part of the configuration, JSON; default: {}
  --report DIR         write report.txt, report.json and report.html there
  --client FILE        transports: module whose default export logs in as a client
  --installation UUID  installation that the backend belongs to; default: a new one
  --soon MS            how long a verb may go on after its abort; default: 5000
  --deadline MS        how long one check may take; default: 120000
  --help               show this

Only what the suite made is deleted from a backend; one that holds anything at the start is refused.
Exit status: 0 passed, 1 failed, 2 could not be run.
`;

/** What the program was asked to do. */
export interface CommandLine {
  readonly plugin: string;
  readonly config: string | undefined;
  readonly report: string | undefined;
  readonly client: string | undefined;
  readonly installation: string | undefined;
  readonly soon: number | undefined;
  readonly deadline: number | undefined;
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Reads arguments; `help` when the usage was asked for. Throws an `Error` that says what is wrong. */
export function parseCommandLine(args: readonly string[]): CommandLine | 'help' {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    strict: true,
    options: {
      plugin: text,
      config: text,
      report: text,
      client: text,
      installation: text,
      soon: text,
      deadline: text,
      help: { type: 'boolean' },
    },
  });
  if (values.help) return 'help';
  const { plugin, config, report, client, installation } = values;
  if (plugin === undefined) throw new Error('--plugin is missing');
  if (installation !== undefined && !uuid.test(installation)) throw new Error('--installation is not a lower-case UUID');
  const soon = milliseconds('--soon', values.soon);
  const deadline = milliseconds('--deadline', values.deadline);
  return { plugin, config, report, client, installation, soon, deadline };
}

function milliseconds(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = Number(text);
  if (Number.isInteger(ms) && ms > 0 && ms <= 600_000) return ms;
  throw new Error(`${option} is a number of milliseconds, at most 600000`);
}
