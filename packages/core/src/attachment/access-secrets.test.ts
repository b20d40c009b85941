import { expect, test } from 'vitest';
import { AccessSecrets } from './access-secrets.ts';

test('a secret follows from key and access, and begins with what nobody takes for something else', () => {
  const [secrets, others] = [1, 2].map((byte) => new AccessSecrets(new Uint8Array(32).fill(byte)));
  const found = new Set<string>();
  for (let access = 0; access < 500; access++) {
    const secret = secrets?.of(`access ${access}`) ?? '';
    expect(secret).toMatch(/^s[A-Za-z0-9_-]{23}$/);
    expect(secrets?.of(`access ${access}`)).toBe(secret);
    expect(others?.of(`access ${access}`)).not.toBe(secret);
    found.add(secret);
  }
  expect(found.size).toBe(500);
});
