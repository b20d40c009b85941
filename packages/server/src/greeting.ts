import type { Running } from './serve.ts';

/** What the program tells whoever started it: what it did, where it listens, and what to try. */
export function greeting(running: Running): string {
  const { url, dataDirectory, backends, firstStart, logFile, targets } = running;
  return `Scoria ${firstStart ? 'made a new installation and ' : ''}is serving block storage.
  data       ${dataDirectory}${firstStart ? ' (made now)' : ''}
  API        ${url}/v3        identity ${url}/identity/v3
  targets    ${targets.length > 0 ? targets.map((target) => `iSCSI on ${target}`).join(', ') : 'none'}
  backends   ${backends.join(', ')}
  log        ${logFile}

Try, in another terminal:
  . ${running.openrcFile}
  openstack volume create --size 1 first
  openstack volume list

Ctrl-C stops it; volumes and their content stay.
`;
}
