import type { PoolFilter } from '../scheduling/pool-filter.ts';
import type { PoolWeigher } from '../scheduling/pool-weigher.ts';
import type { AnyTransport } from '../transport/transport.ts';
import type { AnyVolumeDriver } from '../volume/driver.ts';
import type { DeviceOpeners } from '../device/device-locator.ts';

/** A configured backend: its driver and the transport that publishes its volumes, both guarded. */
export interface ConfiguredBackend {
  readonly name: string;
  readonly availabilityZone: string;
  readonly driver: AnyVolumeDriver;
  readonly driverCapabilities: readonly string[];
  readonly openers: DeviceOpeners;
  /** `null`: the backend's volumes cannot be attached. */
  readonly transport: AnyTransport | null;
}

/** A filter and its name in the configuration. */
export interface NamedFilter {
  readonly name: string;
  readonly filter: PoolFilter;
}

/** A weigher, its name in the configuration, and the weight of its opinion. */
export interface NamedWeigher {
  readonly name: string;
  readonly weigher: PoolWeigher;
  /** Negative turns the weigher around. */
  readonly multiplier: number;
}

/** Everything that the configuration's plug-ins made. */
export interface Plugins {
  readonly backends: readonly ConfiguredBackend[];
  readonly transports: readonly { readonly name: string; readonly transport: AnyTransport }[];
  readonly filters: readonly NamedFilter[];
  readonly weighers: readonly NamedWeigher[];
}
