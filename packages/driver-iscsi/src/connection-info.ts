import type { ConnectionInfo, ExportRequest } from '@scoria/core';
import { targetName } from './target/target-name.ts';

/** What an access's connection info says of the target that publishes it. */
export interface PublishedBy {
  readonly iqnPrefix: string;
  /** `host:port`; the first one is the preferred. */
  readonly portals: readonly string[];
  /** LUN of the volume. */
  readonly lun: number;
  /** Whether a login needs the access's secret. */
  readonly chap: boolean;
  /** Name that initiators log in with. Default: the id of the access. */
  readonly user?: string;
}

/** What a client of an access over iSCSI needs, as Cinder's clients and os-brick understand it (Block Storage API v3, `connection_info`). */
export function iscsiConnectionInfo(by: PublishedBy, request: ExportRequest): ConnectionInfo {
  const { iqnPrefix, portals, lun, chap, user = request.accessId } = by;
  const iqn = targetName(iqnPrefix, request.accessId);
  const several = portals.length > 1 && {
    target_portals: portals,
    target_iqns: portals.map(() => iqn),
    target_luns: portals.map(() => lun),
  };
  const proof = chap && { auth_method: 'CHAP', auth_username: user, auth_password: request.secret };
  return {
    driverVolumeType: 'iscsi',
    data: {
      target_discovered: false,
      target_portal: portals[0],
      target_iqn: iqn,
      target_lun: lun,
      ...several,
      volume_id: request.volumeId,
      ...proof,
      encrypted: false,
      access_mode: request.readOnly ? 'ro' : 'rw',
      discard: true,
    },
  };
}
