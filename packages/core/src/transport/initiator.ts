import type { BlockDevice } from '../device/block-device.ts';
import type { OpenOptions } from '../device/device-locator.ts';
import type { PluginCall } from '../volume/driver.ts';
import type { ConnectionInfo, Connector } from './transport.ts';

/** A volume of another host as a block device of this one. `refreshSize` asks the target again. */
export interface ConnectedDevice extends BlockDevice {
  /** SCSI unit serial number (SPC-4, 7.8.15), as the target tells it. */
  readonly serial: string;
  /** Device node on this host, where there is one. */
  readonly path: string | null;
}

/**
 * The host side of a transport: reaches volumes that a {@link Transport} published, maybe on another machine. What is
 * connected under the wrong serial number is another volume, and is never handed out.
 */
export interface Initiator {
  /** Values of `driverVolumeType` that it can connect to. */
  readonly reaches: readonly string[];
  /** What this host says of itself when it asks for access. */
  connector(call: PluginCall): Promise<Connector>;
  /**
   * Logs in where that has not been done, and opens the volume. Where the information names a volume (`volume_id`), the
   * serial number must be its id. Several connections to one volume may be open. `not-permitted` when the target refuses
   * who we are, `transport-failed` when it cannot be reached, `device-gone` when it has another volume.
   */
  connect(info: ConnectionInfo, options: OpenOptions, call: PluginCall): Promise<ConnectedDevice>;
  /**
   * Ends what is left of a connection on this host, also when a process that died had made it. Settles when no session
   * and no device node of it is there; succeeds when there was none. Devices that are still open fail with `device-gone`.
   */
  disconnect(info: ConnectionInfo, call: PluginCall): Promise<void>;
}
