import {
  silentLog,
  systemRandom,
  type AnyVolumeDriver,
  type BackendObject,
  type ListedObject,
  type Log,
  type PluginCall,
} from '@scoria/core';
import plugin from '@scoria/driver-lvm';
import { ManualClock } from './manual-clock.ts';
import { ModelledLvm } from './modelled-lvm.ts';

export const MiB = 1024 ** 2;
export const call: PluginCall = { signal: new AbortController().signal, fence: 1, progress: () => {} };
/** A thick backend whose volumes need not be zeroed, so that no device is opened. */
export const thick = { provisioning: 'thick', freeSpace: 'zeroed' };

/** A request for something that does not exist yet. */
export const request = (size = 8 * MiB): BackendObject => ({
  placementId: systemRandom.uuid(),
  pool: 'vg',
  backendRef: null,
  size,
});

/** Drivers over one modelled volume group. */
export class LvmBench {
  readonly lvm = new ModelledLvm();
  readonly clock = new ManualClock();
  readonly installationId: string = systemRandom.uuid();

  /** A new driver, as after a start of the service. */
  start(
    config: Record<string, unknown> = {},
    options: { readonly installationId?: string; readonly log?: Log } = {},
  ): AnyVolumeDriver {
    const { clock, lvm: exec, installationId } = this;
    return plugin.create({
      name: 'lvm',
      config: { volumeGroups: ['vg'], thinPool: { name: 'pool' }, ...config },
      baseDirectory: '/',
      ...{ clock, exec, random: systemRandom, log: silentLog, installationId },
      ...options,
    });
  }

  /** A driver whose backend has been checked; what that cost is not counted. */
  async checked(config: Record<string, unknown> = {}, log: Log = silentLog): Promise<AnyVolumeDriver> {
    const driver = this.start(config, { log });
    await driver.check(call);
    this.lvm.counted();
    return driver;
  }

  async volume(driver: AnyVolumeDriver, size?: number): Promise<BackendObject> {
    const wanted = request(size);
    return { ...wanted, ...(await driver.create(wanted, call)) };
  }

  /** A complete thick volume, put there without the driver. */
  thickVolume(size?: number): BackendObject {
    const volume = request(size);
    this.lvm.add({ name: `volume-${volume.placementId}`, size: volume.size, tags: this.tags(volume) });
    return volume;
  }

  /** Tags of an object of the backend. */
  tags({ placementId }: BackendObject, kind = 'volume', state: readonly string[] = ['scoria.state=ready']): string[] {
    const backend = [...this.lvm.groupTags].find((tag) => tag.startsWith('scoria.backend=')) ?? '';
    return ['scoria', backend, `scoria.placement=${placementId}`, `scoria.kind=${kind}`, ...state];
  }

  async snapshot(driver: AnyVolumeDriver, volume: BackendObject): Promise<BackendObject> {
    const wanted = request(volume.size);
    const { backendRef, size } = await driver.createSnapshot(wanted, volume, call);
    return { ...wanted, backendRef, size };
  }

  async listed(driver: AnyVolumeDriver): Promise<readonly ListedObject[]> {
    const found: ListedObject[] = [];
    for await (const object of driver.list(call)) found.push(object);
    return found;
  }

  /** Names of all logical volumes, sorted. */
  names(): readonly string[] {
    return [...this.lvm.volumes.keys()].toSorted();
  }
}
