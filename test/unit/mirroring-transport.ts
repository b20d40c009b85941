import type { BlockDevice, DeviceLocator, DeviceOpener, MirrorSupport, PluginCall } from '@scoria/core';
import { copyDevice } from '@scoria/core';
import { RecordingTransport } from './recording-transport.ts';

/** A {@link RecordingTransport} that mirrors for real, between devices that it opens itself. */
export class MirroringTransport extends RecordingTransport implements MirrorSupport {
  readonly mirrors = new Map<string, { readonly target: DeviceLocator; committed: boolean }>();
  readonly #open: DeviceOpener;
  /** Runs in the middle of every copy. */
  onCopy: (call: PluginCall) => Promise<void> = async () => {};

  constructor(open: DeviceOpener) {
    super();
    this.#open = open;
  }

  async mirror(volumeId: string, source: DeviceLocator, target: DeviceLocator, call: PluginCall): Promise<void> {
    this.note('mirror');
    await this.onCopy(call);
    const devices: BlockDevice[] = [await this.#open(source, { readOnly: true }), await this.#open(target, { readOnly: false })];
    const [from, to] = devices as [BlockDevice, BlockDevice];
    await copyDevice(from, to, call);
    for (const device of devices) await device.close();
    this.mirrors.set(volumeId, { target, committed: false });
  }

  async commitMirror(volumeId: string): Promise<void> {
    this.note('commitMirror');
    const mirror = this.mirrors.get(volumeId);
    if (!mirror) throw new Error('no mirror');
    mirror.committed = true;
  }

  async endMirror(volumeId: string, keep: 'source' | 'target'): Promise<void> {
    this.note(`endMirror ${keep}`);
    const mirror = this.mirrors.get(volumeId);
    this.mirrors.delete(volumeId);
    if (!mirror || keep === 'source') return;
    for (const [id, request] of this.exports) {
      if (request.volumeId === volumeId) this.exports.set(id, { ...request, device: mirror.target });
    }
  }
}
