import { copyDevice } from '../device/copy.ts';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Backends, ServedBackend } from '../placement/backends.ts';
import type { BackendObject, CreatedCopy, PluginCall } from '../volume/driver.ts';

/** Longest time that writes to a volume in use are held for a driver's instant snapshot, ms. Initiators give up after 30 s. */
const longestHold = 15_000;

/**
 * Runs a driver's snapshot or clone of a volume while the transport holds writes back, so that the copy is one point in
 * time. A copy that came back unfilled needs no hold: filling it takes its own point in time.
 * When the hold did not last, what was captured is discarded and the error is `writes-not-held`.
 */
export async function captured(
  backend: ServedBackend,
  volumeId: string,
  call: PluginCall,
  capture: () => Promise<CreatedCopy>,
  discard: () => Promise<void>,
): Promise<CreatedCopy> {
  const token = backend.transport ? await backend.transport.hold(volumeId, longestHold, call) : null;
  if (token === null || !backend.transport) return capture();
  let copy: CreatedCopy;
  try {
    copy = await capture();
  } catch (error) {
    await backend.transport.release(token, call);
    throw error;
  }
  const { held } = await backend.transport.release(token, call);
  if (copy.filled && !held) {
    // A repeat would find what was captured and take it for good.
    await discard();
    throw new ScoriaError('writes-not-held', `Writes to volume ${volumeId} could not be held while it was copied.`);
  }
  return copy;
}

/** Fills `target` with what volume `source` holds at one moment during the call, also while it is in use. */
export async function fillFromVolume(
  backends: Backends,
  backend: ServedBackend,
  volumeId: string,
  source: BackendObject,
  target: BackendObject,
  call: PluginCall,
): Promise<void> {
  if (!backend.transport) return fillFromStill(backends, backend, source, target, call);
  const [from, to] = await Promise.all([backend.driver.locate(source, call), backend.driver.locate(target, call)]);
  await backend.transport.copy(volumeId, from, to, call);
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
