import type { Exec, PluginCall } from '@scoria/core';
import { isIscsiName } from '../initiator-name.ts';
import type { DiscoveredTarget } from '../initiator/discovery.ts';
import { formatAddress, parseAddress, type ListenAddress } from '../protocol/listen-address.ts';
import { iscsiadm, status } from './iscsiadm.ts';

/** `192.0.2.1:3260,1 iqn.…`, with brackets for an IPv6 address. */
const line = /^(\S+),(\d{1,5}) (\S+)$/;

/**
 * Asks a portal for its targets through open-iscsi (RFC 7143, appendix C). Nothing is kept of the answer on this host.
 * `transport-failed` when the portal cannot be reached.
 */
export async function sendTargets(exec: Exec, portal: ListenAddress, call: PluginCall): Promise<readonly DiscoveredTarget[]> {
  const where = ['--portal', formatAddress(portal)];
  const args = ['--mode', 'discovery', '--type', 'sendtargets', ...where, '--op', 'nonpersistent'];
  const { stdout } = await iscsiadm(exec, args, [status.ok, status.nothingFound], call);
  const found = new Map<string, DiscoveredTarget['addresses'][number][]>();
  for (const text of stdout.split('\n')) {
    const [, address = '', tag, name = ''] = line.exec(text.trim()) ?? [];
    const told = parseAddress(address);
    if (told === null || !isIscsiName(name)) continue;
    found.set(name, [...(found.get(name) ?? []), { portal: told, portalGroupTag: Number(tag) }]);
  }
  return Array.from(found, ([name, addresses]) => ({ name, addresses }));
}
