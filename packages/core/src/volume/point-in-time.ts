import { copyDevice } from '../device/copy.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Backends, ServedBackend } from '../placement/backends.ts';
import type { BackendObject, CreatedCopy, PluginCall } from '../volume/driver.ts';

/** Longest time that writes to a volume in use are held for a driver's instant snapshot, ms. Initiators give up after 30 s. */
const longestHold = 15_000;

/** How a copy of a volume can be made. */
export interface Capture {
  /** Lets the driver make it. */
  capture(): Promise<CreatedCopy>;
  /** Removes what that has made. */
  discard(): Promise<void>;
  /** Makes what the copy is put into later; for a driver that would move every byte meanwhile. */
  empty?: (() => Promise<CreatedCopy>) | undefined;
}

/**
 * Runs a driver's snapshot or clone of a volume while the transport holds writes back, so that the copy is one point in
 * time. A copy that came back unfilled needs no hold: filling it takes its own point in time. Where the transport cannot
 * hold, the driver's own word counts: what comes back filled is one moment.
 * When the hold did not last, what was captured is discarded and the error is `writes-not-held`.
 */
export async function captured(
  backend: ServedBackend,
  volumeId: string,
  call: PluginCall,
  { capture, discard, empty }: Capture,
): Promise<CreatedCopy> {
  const token = await backend.transport?.hold?.(volumeId, longestHold, call);
  if (typeof token !== 'string') return capture();
  if (empty) {
    await backend.transport?.release?.(token, call);
    return empty();
  }
  let copy: CreatedCopy;
  try {
    copy = await capture();
  } catch (error) {
    await backend.transport?.release?.(token, call);
    throw error;
  }
  const released = await backend.transport?.release?.(token, call);
  if (copy.filled && released?.held !== true) {
    // A repeat would find what was captured and take it for good.
    await discard();
    throw new ScoriaError('writes-not-held', `Writes to volume ${volumeId} could not be held while it was copied.`);
  }
  return copy;
}

/**
 * Fills `target` with what volume `source` holds at one moment during the call, also while it is in use. `not-supported`
 * when it is in use and neither driver nor transport can tell what it holds at a moment.
 */
export async function fillFromVolume(
  backends: Backends,
  backend: ServedBackend,
  volumeId: string,
  source: BackendObject,
  target: BackendObject,
  call: PluginCall,
): Promise<void> {
  const { transport } = backend;
  if (transport?.copy) {
    const [from, to] = await Promise.all([backend.driver.locate(source, call), backend.driver.locate(target, call)]);
    return transport.copy(volumeId, from, to, call);
  }
  const refuseInUse = async () => {
    const published = (await transport?.list(call)) ?? [];
    if (!published.some((status) => status.volumeId === volumeId)) return;
    throw new ScoriaError(
      'not-supported',
      `Volume ${volumeId} is in use, and its backend cannot copy it as it is at one moment.`,
      {
        remedy: 'Detach the volume first, or use a backend or transport that takes points in time.',
      },
    );
  };
  await refuseInUse();
  await fillFromStill(backends, backend, source, target, call);
  // It may have come into use meanwhile.
  await refuseInUse();
}

/** Fills `target` with what `source` holds, which nobody writes to. */
export async function fillFromStill(
  backends: Backends,
  backend: ServedBackend,
  source: BackendObject,
  target: BackendObject,
  call: PluginCall,
): Promise<void> {
  await copyStill(backends, { backend, object: source }, { backend, object: target }, call);
}

/** A thing on a backend of this process. */
export interface Located {
  readonly backend: ServedBackend;
  readonly object: BackendObject;
}

/** Copies between two things that nobody else writes to, on whatever backends. */
export async function copyStill(backends: Backends, source: Located, target: Located, call: PluginCall): Promise<void> {
  const from = await backends.open(source.backend, source.object, { readOnly: true }, call);
  try {
    const to = await backends.open(target.backend, target.object, { readOnly: false }, call);
    try {
      await copyDevice(from, to, call);
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
}
