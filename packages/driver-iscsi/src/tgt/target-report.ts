import { ScoriaError } from '@scoria/core';
import { z } from 'zod';

const count = z.coerce.number().int().nonnegative();

const targetSchema = z.object({
  tid: count,
  /** The target's iSCSI name. */
  name: z.string(),
  /** `ready`: initiators may log in. */
  state: z.string(),
  sessions: z.array(z.object({ sid: count, initiator: z.string(), connections: z.array(count) })),
  units: z.array(
    z.object({
      lun: count,
      serial: z.string(),
      path: z.string(),
      /** Bytes. */
      blockSize: count,
      readOnly: z.boolean(),
      /** Goes past the page cache. */
      direct: z.boolean(),
    }),
  ),
  /** CHAP names that may log in. */
  accounts: z.array(z.string()),
  /** Addresses and names of initiators that may log in. */
  admitted: z.array(z.string()),
});
/** A target of tgtd. */
export type TgtTarget = z.output<typeof targetSchema>;

/** A block of the text: its line, and the blocks below it. */
interface Block {
  readonly label: string;
  /** What follows the first colon and blank. */
  readonly value: string;
  readonly line: string;
  readonly blocks: Block[];
}

/** Blanks of one level. */
const step = 4;

function blocksOf(text: string): readonly Block[] {
  const root: Block = { label: '', value: '', line: '', blocks: [] };
  const open = [root];
  for (const indented of text.split('\n')) {
    const line = indented.trim();
    if (line === '') continue;
    const depth = Math.min(Math.floor((indented.length - indented.trimStart().length) / step), open.length - 1);
    const colon = `${line} `.indexOf(': ');
    const block: Block = {
      label: colon < 0 ? line : line.slice(0, colon),
      value: colon < 0 ? '' : line.slice(colon + 1).trim(),
      line,
      blocks: [],
    };
    open.length = depth + 1;
    open.at(-1)?.blocks.push(block);
    open.push(block);
  }
  return root.blocks;
}

const below = (block: Block, label: string): readonly Block[] =>
  block.blocks.filter((inner) => inner.label === label).flatMap(({ blocks }) => blocks);
const valueOf = (block: Block, label: string): string | undefined => block.blocks.find((inner) => inner.label === label)?.value;

const sessionOf = (block: Block): unknown => ({
  sid: block.value,
  initiator: valueOf(block, 'Initiator')?.replace(/ alias:.*$/, ''),
  connections: block.blocks.filter(({ label }) => label === 'Connection').map(({ value }) => value),
});
const unitOf = (block: Block): unknown => ({
  lun: block.value,
  serial: valueOf(block, 'SCSI SN'),
  path: valueOf(block, 'Backing store path'),
  blockSize: valueOf(block, 'Size')?.replace(/^.*Block size: /, ''),
  readOnly: valueOf(block, 'Readonly') === 'Yes',
  direct: valueOf(block, 'Backing store flags')?.includes('direct'),
});
const targetOf = (block: Block): unknown => ({
  tid: block.label.slice('Target '.length),
  name: block.value,
  state: below(block, 'System information').find(({ label }) => label === 'State')?.value,
  sessions: below(block, 'I_T nexus information').map(sessionOf),
  units: below(block, 'LUN information').map(unitOf),
  accounts: below(block, 'Account information').map(({ line }) => line),
  admitted: below(block, 'ACL information').map(({ line }) => line),
});

/**
 * Reads what `tgtadm --mode target --op show` prints (tgtadm(8)): indented blocks of `label: value`. What is not known is
 * passed over. Throws `transport-failed` when the rest makes no sense.
 */
export function parseTargets(text: string): readonly TgtTarget[] {
  const blocks = blocksOf(text).filter(({ label }) => label.startsWith('Target '));
  return understood('targets', z.array(targetSchema).safeParse(blocks.map(targetOf)));
}

const portalSchema = z
  .string()
  .regex(/^\S+:\d+,\d+$/)
  .transform((text) => text.slice(0, text.lastIndexOf(',')));

/** Reads what `tgtadm --mode portal --op show` prints: the addresses that tgtd listens on, `host:port`. */
export function parsePortals(text: string): readonly string[] {
  const blocks = blocksOf(text).filter(({ label }) => label === 'Portal');
  return understood('portals', z.array(portalSchema).safeParse(blocks.map(({ value }) => value)));
}

/** Counters of a logical unit in one session. */
export interface UnitCounters {
  readonly tid: number;
  readonly lun: number;
  readonly readBytes: number;
  readonly reads: number;
  readonly writtenBytes: number;
  readonly writes: number;
}

/** Target, unit, session; bytes and commands of reads asked for, reads done, writes asked for, writes done; errors. */
const countersSchema = z
  .tuple([count, count, z.string(), count, count, count, count, count, count, count, count, count])
  .transform(([tid, lun, , , , readBytes, reads, , , writtenBytes, writes]): UnitCounters => {
    return { tid, lun, readBytes, reads, writtenBytes, writes };
  });

/** Reads what `tgtadm --mode sys --op stat` prints: a heading, and a line for each logical unit in each session. */
export function parseCounters(text: string): readonly UnitCounters[] {
  const lines = text.split('\n').map((line) => line.trim().split(/\s+/));
  const rows = lines.filter(([first = '']) => /^\d+$/.test(first));
  return understood('counters', z.array(countersSchema).safeParse(rows));
}

function understood<T>(what: string, parsed: z.ZodSafeParseResult<T>): T {
  if (parsed.success) return parsed.data;
  const faults = z.prettifyError(parsed.error).slice(0, 500);
  throw new ScoriaError('transport-failed', `tgtadm tells of its ${what} what cannot be understood: ${faults}`, {
    remedy: 'See whether this version of tgt prints something else; version 1.0.85 is known to work.',
  });
}
