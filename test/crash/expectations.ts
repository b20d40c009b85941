import type { Site } from './site.ts';

/** Throws, saying what is wrong, unless something holds. */
export function must(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

/** A volume as the store has it. */
export const volumeOf = (site: Site, id: string) => site.store.reading.volumes.get('every-project', id);

/** Whether something can be had. */
export async function exists(get: Promise<unknown>): Promise<boolean> {
  return get.then(
    () => true,
    () => false,
  );
}

/** A volume that a host uses. Returns its id. */
export async function attachedVolume(site: Site): Promise<string> {
  const volumeId = await site.volume(10);
  await site.attach(volumeId);
  return volumeId;
}
