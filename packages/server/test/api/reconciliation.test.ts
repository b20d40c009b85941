import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start();
});
afterAll(() => service.stop());

test('administrators run the reconciler, look at the last run and at findings', async () => {
  const dry = await service.ask('POST', '//scoria/v1/reconciliation', { as: 'admin', body: { dry_run: true } });
  expect(dry).toMatchObject({ status: 200, body: { findings: [], reconciliation: { actions: 0 } } });
  expect((await service.ask('GET', '//scoria/v1/reconciliation', { as: 'admin' })).body).toEqual({ reconciliation: null });
  // A slip in the word would else run what was only to be looked at.
  const slip = await service.ask('POST', '//scoria/v1/reconciliation', { as: 'admin', body: { dryrun: true } });
  expect(slip.body.badRequest.message).toContain("'dryrun' was unexpected");
  const run = await service.ask('POST', '//scoria/v1/reconciliation', { as: 'admin', body: {} });
  const last = await service.ask('GET', '//scoria/v1/reconciliation', { as: 'admin' });
  expect(last.body.reconciliation).toEqual(run.body.reconciliation);
  expect(last.body.reconciliation.passes.map(({ result }: { result: string }) => result)).not.toContain('failed');
  for (const query of ['', '?state=any', '?state=mended&kind=unknown-object', '?subject_id=none']) {
    expect(await service.ask('GET', `//scoria/v1/findings${query}`, { as: 'admin' })).toMatchObject({
      status: 200,
      body: { findings: [] },
    });
  }
  expect((await service.ask('GET', '//scoria/v1/findings?state=well', { as: 'admin' })).status).toBe(400);
  // A slip in a filter would else show all that there is.
  const unknown = await service.ask('GET', '//scoria/v1/findings?subject=none', { as: 'admin' });
  expect(unknown).toMatchObject({
    status: 400,
    body: { badRequest: { message: expect.stringContaining("'subject' was unexpected") } },
  });
});

test('others are refused', async () => {
  expect((await service.ask('GET', '//scoria/v1/findings', { as: 'red' })).status).toBe(403);
  expect((await service.ask('GET', '//scoria/v1/reconciliation', { as: 'red' })).status).toBe(403);
  expect((await service.ask('POST', '//scoria/v1/reconciliation', { as: 'red', body: {} })).status).toBe(403);
});
