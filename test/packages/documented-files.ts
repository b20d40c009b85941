import { readFile } from 'node:fs/promises';

/** The files that a guide shows: every code block with a `title`, by that title. */
export async function documentedFiles(guide: string): Promise<ReadonlyMap<string, string>> {
  const text = await readFile(guide, 'utf8');
  const blocks = text.matchAll(/^```\w+ title=(\S+)\n(.*?)^```$/gms);
  return new Map([...blocks].map(([, title, code]) => [title ?? '', code ?? '']));
}

/** The TypeScript and JavaScript that a text shows, in its order. */
export async function documentedSnippets(text: string): Promise<readonly string[]> {
  const blocks = (await readFile(text, 'utf8')).matchAll(/^```[tj]s\b[^\n]*\n(.*?)^```$/gms);
  return [...blocks].map(([, code]) => code ?? '');
}
