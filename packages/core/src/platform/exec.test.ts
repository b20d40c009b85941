import { expect, test } from 'vitest';
import { ScoriaError } from '../error/scoria-error.ts';
import { systemClock, type Clock } from './clock.ts';
import { SystemExec } from './exec.ts';

const logged: string[] = [];
const write = (fields: object, message: string) => void logged.push(JSON.stringify({ ...fields, message }));
const exec = new SystemExec({ clock: systemClock, log: { debug: write, info: write, warn: write, error: write } });
const deadline = 20_000;

const failure = async (work: Promise<unknown>): Promise<ScoriaError> =>
  ScoriaError.from(
    await work.then(
      () => null,
      (error: unknown) => error,
    ),
  );

test('a program gets its arguments as they are, its input, and no other environment', async () => {
  const { stdout } = await exec.run({ program: 'printf', args: ['%s|', 'a b', '$HOME', '`id`'], deadline });
  expect(stdout).toBe('a b|$HOME|`id`|');
  expect((await exec.run({ program: 'cat', args: [], input: 'text', deadline })).stdout).toBe('text');
  const { stdout: variables } = await exec.run({ program: 'env', args: [], environment: { ONE: '1' }, deadline });
  expect(
    variables
      .trim()
      .split('\n')
      .toSorted()
      .map((line) => line.split('=')[0]),
  ).toEqual(['LC_ALL', 'ONE', 'PATH']);
});

test('an exit status that is not accepted is an error with what the program said', async () => {
  const error = await failure(exec.run({ program: 'ls', args: ['/no/such/place'], deadline }));
  expect(error).toMatchObject({ code: 'backend-failed', details: { program: 'ls', exitCode: 2 } });
  expect(error.message).toMatch(/ls \/no\/such\/place ended with exit status 2: .*No such file/);
  expect(await exec.run({ program: 'ls', args: ['/no/such/place'], accepts: [0, 2], deadline })).toMatchObject({ exitCode: 2 });
});

test('a program that is not there is told by name', async () => {
  const error = await failure(exec.run({ program: 'no-such-program', args: [], deadline }));
  expect(error).toMatchObject({ code: 'backend-unavailable', remedy: 'Install the package that has no-such-program.' });
});

test('a program that takes too long, or is not wanted any more, has ended when the call rejects', async () => {
  const late = await failure(exec.run({ program: 'sleep', args: ['33'], deadline: 50 }));
  expect(late.code).toBe('deadline-exceeded');
  const controller = new AbortController();
  const running = failure(exec.run({ program: 'sleep', args: ['33'], deadline, signal: controller.signal }));
  controller.abort(new ScoriaError('cancelled', 'not wanted'));
  expect((await running).code).toBe('cancelled');
  const { stdout } = await exec.run({ program: 'ps', args: ['-eo', 'args'], deadline });
  expect(stdout).not.toContain('sleep 33');
});

test('secrets are in no log and no error', async () => {
  const error = await failure(exec.run({ program: 'ls', args: ['/hunter2'], secrets: ['hunter2'], deadline }));
  expect(error.message).toContain('/***');
  expect([error.message, ...logged].join('\n')).not.toContain('hunter2');
});

test('lines come while the program runs, and a failure after the last of them', async () => {
  const seen: string[] = [];
  for await (const line of exec.lines({ program: 'seq', args: ['3'], deadline })) seen.push(line);
  expect(seen).toEqual(['1', '2', '3']);
  const failing = async () => {
    for await (const line of exec.lines({ program: 'ls', args: ['/', '/no/such/place'], deadline })) seen.push(line);
  };
  expect((await failure(failing())).code).toBe('backend-failed');
  expect(seen.length).toBeGreaterThan(5);
  for await (const line of exec.lines({ program: 'yes', args: [], deadline })) if (line === 'y') break;
});

test('an output that is too long to be kept is an error and not half of it', async () => {
  // Eight characters more than 16 MiB: what is left fits into the pipe, and the program ends well.
  const args = ['-f', '%08.0f', '1864136'];
  const error = await failure(exec.run({ program: 'seq', args, deadline }));
  expect(error).toMatchObject({ code: 'backend-failed', message: expect.stringContaining('more than') });
});

test('lines end with the deadline also where another process keeps the output open', async () => {
  const timers: (() => void)[] = [];
  const timer: Clock['timer'] = (_, end) => ({ [Symbol.dispose]: () => {}, at: timers.push(end) });
  const impatient = new SystemExec({
    clock: { ...systemClock, timer },
    log: { debug: write, info: write, warn: write, error: write },
  });
  const seen: number[] = [];
  const reading = async () => {
    const args = ['-c', 'sleep 60 & echo $!; exec sleep 60'];
    for await (const line of impatient.lines({ program: 'sh', args, deadline })) {
      seen.push(Number(line));
      // The deadline, and then what is given to the program to end.
      timers[0]?.();
      timers[1]?.();
    }
  };
  const failed = failure(reading());
  expect((await failed).code).toBe('deadline-exceeded');
  const [left = 0] = seen;
  expect(process.kill(left, 'SIGKILL'), 'it is still there').toBe(true);
});
