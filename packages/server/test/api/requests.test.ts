import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestService } from '../service.ts';

describe('requests with a name of their own, and dry ones', () => {
  let service: TestService;
  beforeEach(async () => {
    service = await TestService.start();
  });
  afterEach(() => service.stop());

  const body = { volume: { size: 1 } };
  const volumes = async () => (await service.ask('GET', '/volumes')).body.volumes.length;

  it('are carried out once under one key', async () => {
    const headers = { 'Idempotency-Key': 'k1' };
    const first = await service.ask('POST', '/volumes', { body, headers });
    const second = await service.ask('POST', '/volumes', { body, headers });
    expect([second.status, second.body.volume.id]).toEqual([202, first.body.volume.id]);
    expect(second.headers['x-scoria-operation-id']).toBe(first.headers['x-scoria-operation-id']);
    expect(await volumes()).toBe(1);
  });

  it('get 422 for another body or route under the same key', async () => {
    const headers = { 'Idempotency-Key': 'k1' };
    const { body: made } = await service.ask('POST', '/volumes', { body, headers });
    const other = await service.ask('POST', '/volumes', { body: { volume: { size: 2 } }, headers });
    expect(other).toMatchObject({ status: 422, body: { unprocessableEntity: { code: 422 } } });
    expect((await service.ask('DELETE', `/volumes/${made.volume.id}`, { headers })).status).toBe(422);
    expect((await service.ask('POST', '/volumes', { body, headers: { 'Idempotency-Key': 'x'.repeat(256) } })).status).toBe(400);
  });

  it('answer with a plan, and do nothing', async () => {
    const headers = { 'X-Scoria-Plan': 'true' };
    const { status, body: answer } = await service.ask('POST', '/volumes', { body, headers });
    expect([status, answer.plan]).toMatchObject([200, { operation: 'volume.create', estimate: 'instant', bytes: 0 }]);
    expect(answer.plan.steps.map(({ name }: { name: string }) => name)).toContain('place');
    expect(await volumes()).toBe(0);
    expect((await service.ask('POST', '/volumes', { body: { volume: { size: -1 } }, headers })).status).toBe(400);
    expect((await service.ask('GET', '/volumes', { headers })).status).toBe(400);
  });

  it('stand in the history of what they were about', async () => {
    const { body: made } = await service.ask('POST', '/volumes', { body });
    const { id } = made.volume;
    await service.settled(`/volumes/${id}`, 'volume');
    const { body: answer } = await service.ask('GET', `//scoria/v1/why/${id}`);
    expect(answer.why).toMatchObject({
      resource_id: id,
      operations: [{ name: 'volume.create', status: 'succeeded' }],
      messages: [],
    });
    expect(answer.why.operations[0].journal.at(-1)).toMatchObject({ event: 'ended' });
  });
});
