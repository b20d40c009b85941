import { targetName } from './target/target-name.ts';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** The text as a UUID of ours, or `null` when it is something else. */
export const uuidOf = (text: string): string | null => (uuid.test(text) ? text : null);

/** The access whose target has this iSCSI name, or `null` when the target is not ours. The inverse of {@link targetName}. */
export function accessIdOf(iqnPrefix: string, name: string): string | null {
  const prefix = targetName(iqnPrefix, '');
  return name.startsWith(prefix) ? uuidOf(name.slice(prefix.length)) : null;
}
