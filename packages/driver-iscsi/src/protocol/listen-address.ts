/** A TCP address. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Splits `host:port`, `[v6]:port`; `null` for anything else. */
export function parseAddress(text: string): ListenAddress | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > 65_535 ? null : { host, port };
}

/** `host:port`, with brackets for an IPv6 address. */
export const formatAddress = ({ host, port }: ListenAddress): string => `${host.includes(':') ? `[${host}]` : host}:${port}`;
