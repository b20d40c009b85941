import { ScoriaError } from '@scoria/core/device';
import type { ConnectionInfo } from '@scoria/core';
import { z } from 'zod';
import type { ChapSecret } from '../protocol/chap.ts';
import { parseAddress, type ListenAddress } from '../protocol/listen-address.ts';
import type { UnitPath } from './recovering-session.ts';

/** Paths to one volume at most. */
const maxPaths = 16;

const portal = z.string().transform((text, context): ListenAddress => {
  // Some targets add a portal group tag, as discovery tells it.
  const address = parseAddress(text.split(',', 1)[0] ?? '');
  if (address !== null) return address;
  context.addIssue({ code: 'custom', message: 'must be host:port' });
  return z.NEVER;
});
const iqn = z.string().min(1).max(223);
const lun = z.number().int().min(0).max(0x3fff);

/** The data of a connection of type `iscsi`, as Cinder's clients know it (Block Storage API v3, `connection_info`). */
const infoSchema = z.object({
  target_portal: portal,
  target_iqn: iqn,
  target_lun: lun,
  target_portals: z.array(portal).max(maxPaths).optional(),
  target_iqns: z.array(iqn).max(maxPaths).optional(),
  target_luns: z.array(lun).max(maxPaths).optional(),
  volume_id: z.string().min(1).optional(),
  auth_method: z.string().nullish(),
  auth_username: z.string().min(1).nullish(),
  auth_password: z.string().min(1).nullish(),
  access_mode: z.enum(['rw', 'ro']).nullish(),
});

/** What a connection info says, ready for use. */
export interface IscsiConnectionInfo {
  readonly paths: readonly UnitPath[];
  /** Serial number that the logical unit must have; `null` when the info names no volume. */
  readonly volumeId: string | null;
  readonly chap: ChapSecret | null;
  readonly readOnly: boolean;
}

/** Reads a connection info. Throws `invalid-input`; the message holds no secret. */
export function parseConnectionInfo({ driverVolumeType, data }: ConnectionInfo): IscsiConnectionInfo {
  if (driverVolumeType !== 'iscsi') {
    throw new ScoriaError('invalid-input', `A connection of type ${driverVolumeType} cannot be made by iSCSI`);
  }
  const parsed = infoSchema.safeParse(data);
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
    throw new ScoriaError('invalid-input', `The iSCSI connection info is not complete: ${faults.join('; ')}`);
  }
  const info = parsed.data;
  const method = info.auth_method ?? 'None';
  if (method !== 'None' && method !== 'CHAP') throw new ScoriaError('not-supported', `iSCSI login by ${method} is not supported`);
  const { auth_username: name, auth_password: secret } = info;
  if (method === 'CHAP' && (name == null || secret == null)) {
    throw new ScoriaError('invalid-input', 'The iSCSI connection info demands CHAP and has no name or no secret');
  }
  const portals = info.target_portals ?? [info.target_portal];
  return {
    paths: portals.map((address, index) => ({
      portal: address,
      targetName: info.target_iqns?.[index] ?? info.target_iqn,
      lun: info.target_luns?.[index] ?? info.target_lun,
    })),
    volumeId: info.volume_id ?? null,
    chap: method === 'CHAP' && name != null && secret != null ? { name, secret } : null,
    readOnly: info.access_mode === 'ro',
  };
}
