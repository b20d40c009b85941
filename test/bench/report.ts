import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import type { Spread } from './statistics.ts';

/** One table of the report. */
export interface Section {
  readonly title: string;
  /** Sentences below the table. */
  readonly notes: readonly string[];
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What a figure should be. */
export interface Aim {
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** Columns of {@link figure}. */
export const figureHeader = ['what', 'unit', 'median', 'lowest to highest round', 'aim', 'met'] as const;

/** A row for one figure, with its aim and whether the median meets it. */
export function figure(what: string, unit: string, spread: Spread, aim: Aim = {}): string[] {
  const { atMost, atLeast } = aim;
  const wanted = atMost !== undefined ? `at most ${atMost}` : atLeast !== undefined ? `at least ${atLeast}` : '';
  const met = spread.median <= (atMost ?? Infinity) && spread.median >= (atLeast ?? -Infinity);
  return [what, unit, short(spread.median), range(spread), wanted, wanted === '' ? '' : met ? 'yes' : 'NO'];
}

/** `low to high`. */
export function range({ low, high }: Spread): string {
  return `${short(low)} to ${short(high)}`;
}

/** A number with three digits that count. */
export function short(value: number): string {
  if (Math.abs(value) >= 100) return value.toLocaleString('en-GB', { maximumFractionDigits: 0 });
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

/** What the numbers were measured on, in one line. */
export function machine(): string {
  const model = cpus()[0]?.model ?? 'unknown processor';
  const virtual = /\bhypervisor\b/.test(readFileSync('/proc/cpuinfo', 'utf8')) ? ' (virtual machine)' : '';
  const memory = (totalmem() / 2 ** 30).toFixed(0);
  return `${model}${virtual}, ${availableParallelism()} cores, ${memory} GiB of memory, Linux ${release()}, Node ${process.versions.node}`;
}

/** A section for a terminal. */
export function asText({ title, notes, header, rows }: Section): string {
  const widths = header.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `  ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd();
  const rule = `  ${widths.map((width) => '-'.repeat(width)).join('  ')}`;
  const table = rows.length === 0 ? [] : [line(header), rule, ...rows.map(line)];
  return [title, ...table, ...notes.map((note) => `  ${note}`), ''].join('\n');
}

/** A section for a page of documentation. */
export function asMarkdown({ title, notes, header, rows }: Section): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const table = rows.length === 0 ? [] : [line(header), line(header.map(() => '---')), ...rows.map(line), ''];
  return [`## ${title}`, '', ...table, ...notes, ''].join('\n');
}
