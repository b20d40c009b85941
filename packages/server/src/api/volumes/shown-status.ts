import type { Volume } from '@scoria/core';

/** Statuses that Cinder shows by an older word, as its first clients know no others. */
const olderWords: ReadonlyMap<string, string> = new Map<Volume['status'], string>([
  ['managing', 'creating'],
  ['error_managing', 'error'],
]);

/** A status as the API shows it. */
export function shownStatus(status: Volume['status']): string {
  return olderWords.get(status) ?? status;
}

/** The statuses that a word in a filter stands for: all that are shown by it, and the one of its own. */
export function statusesShownAs(word: string): readonly string[] {
  return [word, ...[...olderWords].flatMap(([status, shown]) => (shown === word ? [status] : []))];
}
