import { execFile } from 'node:child_process';

/** A program that has ended. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How to run a program. */
export interface RunOptions {
  /** Milliseconds after which it is killed. Default: 60 s. */
  readonly deadline?: number;
  readonly env?: NodeJS.ProcessEnv;
  /** An exit status other than 0 is an error. */
  readonly must?: boolean;
}

/** Runs a program with an array of arguments and no shell. One that does not end in time is an error. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const { deadline = 60_000, env = systemEnvironment(), must = false } = options;
  const { promise, resolve, reject } = Promise.withResolvers<Finished>();
  execFile(
    program,
    args,
    { env, timeout: deadline, killSignal: 'SIGKILL', maxBuffer: 64 * 1024 * 1024 },
    (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : undefined;
      if (code === undefined) return reject(new Error(`${program} did not end by itself: ${stdout}${stderr}`, { cause: error }));
      if (must && code !== 0) return reject(new Error(`${program} ${args[0]} ended with ${code}: ${stdout}${stderr}`));
      resolve({ code, stdout, stderr });
    },
  );
  return promise;
}

/** Debian's programs in Python want Debian's interpreter, so its folder goes first on the path. */
export function systemEnvironment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `/usr/bin:/usr/sbin:${process.env['PATH'] ?? ''}`, ...extra };
}
