import { ScoriaError, type CommandResult, type Exec, type PluginCall } from '@scoria/core';

/** Exit statuses of iscsiadm(8). */
export const status = { ok: 0, notFound: 2, sessionExists: 15, nothingFound: 21, authenticationFailed: 24 } as const;

/** iscsid gives up a login before. */
const deadline = 90_000;

/** Runs iscsiadm(8). What it does not accept of its exit statuses is `transport-failed`, with its words. */
export async function iscsiadm(
  exec: Exec,
  args: readonly string[],
  accepts: readonly number[],
  { signal }: PluginCall,
): Promise<CommandResult> {
  try {
    return await exec.run({ program: 'iscsiadm', args, accepts, deadline, signal });
  } catch (error) {
    const { code, message } = ScoriaError.from(error);
    if (code !== 'backend-failed') throw error;
    throw new ScoriaError('transport-failed', message, { cause: error });
  }
}
