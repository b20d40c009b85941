import { readFile } from 'node:fs/promises';

/** Refuses to run the lab's tests outside a guest: they make and remove volume groups and targets of the machine. */
export default async function requireGuest(): Promise<void> {
  const processor = await readFile('/proc/cpuinfo', 'utf8');
  if (!processor.includes('User Mode Linux'))
    throw new Error('The tests of the lab change the machine they run on. Run them in a guest: "npm run test:lab".');
}
