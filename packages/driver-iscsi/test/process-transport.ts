import { silentLog, systemClock, systemRandom, type Clock } from '@scoria/core';
import { iscsiConfiguration } from '../src/configuration.ts';
import { IscsiTransport } from '../src/iscsi-transport.ts';

/** Where a target of {@link processTransport} keeps what it has, and listens on loopback. */
export interface ProcessTransportPlace {
  readonly directory: string;
  readonly port: number;
}

/** The transport whose target has a process of its own, as the server makes it; not started. */
export function processTransport(
  { directory, port }: ProcessTransportPlace,
  config: object = {},
  clock: Clock = systemClock,
): IscsiTransport {
  return new IscsiTransport({
    name: 'main',
    config: iscsiConfiguration.parse({ listen: [`127.0.0.1:${port}`], ...config }),
    baseDirectory: directory,
    clock,
    random: systemRandom,
    log: silentLog,
    openers: {},
  });
}
