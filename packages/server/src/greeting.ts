import type { Running } from './serve.ts';

/** What the program tells whoever started it: what it did, where it listens, and what to try. */
export function greeting(running: Running): string {
  const { url, dataDirectory, backends, firstStart, logFile, targets } = running;
  const well = backends.filter(({ fault }) => !fault).map(({ name }) => name);
  const troubles = backends.flatMap(({ name, fault, poolFaults }) =>
    fault ? [trouble(name, fault)] : poolFaults.map((each) => trouble(`${name}#${each.pool}`, each)),
  );
  return `Scoria ${firstStart ? 'made a new installation and ' : ''}is serving block storage.
  data       ${dataDirectory}${firstStart ? ' (made now)' : ''}
  API        ${url}/v3        identity ${url}/identity/v3
  targets    ${targets.map(({ name, addresses }) => (addresses.length > 0 ? `${name} on ${addresses.join(' and ')}` : name)).join(', ') || 'none'}
  backends   ${well.join(', ') || 'none in service'}
${troubles.map((each) => `  trouble    ${each}\n`).join('')}  log        ${logFile}

Try, in another terminal:
  . ${running.openrcFile}
  openstack volume create --size 1 first
  openstack volume list

Ctrl-C stops it; volumes and their content stay.
`;
}

/** The words of a driver, on one line each and without what a terminal would obey. */
function trouble(name: string, { message, remedy }: { readonly message: string; readonly remedy: string }): string {
  const [what, todo] = [message, remedy].map((text) => text.replaceAll(/[\s\p{Cc}]+/gu, ' '));
  return `${name}: ${what}\n             ${todo}`;
}
