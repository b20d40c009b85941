import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blockStorageRoutes, scoriaRoutes } from '../../src/api/routes.ts';
import type { Route } from '../../src/http/route.ts';
import { TestService } from '../service.ts';

let service: TestService;
beforeAll(async () => {
  service = await TestService.start();
});
afterAll(() => service.stop());

const routes = [
  ...blockStorageRoutes.map((route) => ({ route, prefix: '//v3' })),
  ...scoriaRoutes.map((route) => ({ route, prefix: '//scoria/v1' })),
].map((each) => Object.assign(each, { name: `${each.route.method} ${each.route.path} ${each.route.action ?? ''}` }));

function ask({ route, prefix }: { route: Route; prefix: string }, headers: Record<string, string> = {}) {
  const path = route.path.replaceAll(/:\w+/g, '00000000-0000-4000-8000-000000000000');
  const body = route.method === 'POST' || route.method === 'PUT' ? { [route.action ?? 'nothing']: {} } : undefined;
  return service.ask(route.method, prefix + path, { body, headers });
}

describe.each(routes)('$name', (each) => {
  test('tells nothing without a token', async () => {
    expect((await ask(each, { 'x-auth-token': '' })).status).toBe(401);
  });

  test('answers a member as it should, and never breaks', async () => {
    const { status } = await ask(each);
    if (each.route.admin) expect(status).toBe(403);
    else expect(status).toBeLessThan(500);
  });
});

test('no two routes of one place and version are the same', () => {
  const seen = new Map<string, Route[]>();
  for (const route of blockStorageRoutes) {
    const place = `${route.method} ${route.path} ${route.action ?? ''}`;
    const others = seen.get(place) ?? [];
    expect(
      others.filter((other) => other.since <= route.until && route.since <= other.until),
      place,
    ).toEqual([]);
    seen.set(place, [...others, route]);
  }
});
