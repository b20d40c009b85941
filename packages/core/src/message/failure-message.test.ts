import { expect, test } from 'vitest';
import { ScoriaError } from '../error/scoria-error.ts';
import { failureText } from './failure-message.ts';

test.each([
  ['There is no file disk.raw', 'There is no file disk.raw. Look again.'],
  ['There is no file disk.raw.', 'There is no file disk.raw. Look again.'],
])('%j and its remedy are told in sentences', (message, told) => {
  expect(failureText(new ScoriaError('not-found', message, { remedy: 'Look again.' }))).toBe(told);
});

test('what a bug says is not told to users', () => {
  expect(failureText(new ScoriaError('internal', 'cannot read properties of /srv/secret'))).not.toContain('/srv/secret');
});
