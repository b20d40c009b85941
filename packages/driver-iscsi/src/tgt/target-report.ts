import { ScoriaError } from '@scoria/core';
import { z } from 'zod';

const count = z.coerce.number().int().nonnegative();

const unitSchema = z.object({
  lun: count,
  serial: z.string(),
  path: z.string(),
  /** Bytes. */
  blockSize: count,
  readOnly: z.boolean(),
  /** Goes past the page cache. */
  direct: z.boolean(),
});
const targetSchema = z.object({
  tid: count,
  /** The target's iSCSI name. */
  name: z.string(),
  /** `ready`: initiators may log in. */
  state: z.string().optional(),
  /** Names of the initiators that are logged in. */
  sessions: z.array(z.string()),
  units: z.array(unitSchema),
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

const valueOf = (block: Block, label: string): string | undefined => block.blocks.find((inner) => inner.label === label)?.value;

const unitOf = (block: Block): readonly z.output<typeof unitSchema>[] => {
  const parsed = unitSchema.safeParse({
    lun: block.value,
    serial: valueOf(block, 'SCSI SN'),
    path: valueOf(block, 'Backing store path'),
    blockSize: valueOf(block, 'Size')?.replace(/^.*Block size: /, ''),
    readOnly: valueOf(block, 'Readonly') === 'Yes',
    direct: valueOf(block, 'Backing store flags')?.includes('direct'),
  });
  return parsed.success ? [parsed.data] : [];
};
const targetOf = (block: Block): readonly TgtTarget[] => {
  const [first, ...others] = block.blocks;
  const section = (label: string): readonly Block[] => others.findLast((inner) => inner.label === label)?.blocks ?? [];
  const parsed = targetSchema.safeParse({
    tid: block.label.slice('Target '.length),
    name: block.value,
    state: first?.label === 'System information' ? valueOf(first, 'State') : undefined,
    sessions: section('I_T nexus information').map((nexus) => valueOf(nexus, 'Initiator')?.replace(/ alias:.*$/, '') ?? ''),
    units: section('LUN information').flatMap(unitOf),
    accounts: section('Account information').map(({ line }) => line),
    admitted: section('ACL information').map(({ line }) => line),
  });
  return parsed.success ? [parsed.data] : [];
};

/**
 * Reads what `tgtadm --mode target --op show` prints (tgtadm(8)): indented blocks of `label: value`.
 *
 * tgtd prints the names and aliases of initiators as they are, also line feeds in them: whoever may log in to a target can
 * add text to the report, whole targets too. It cannot hide the line of a target, nor what tgtd itself says of its state,
 * which is the first section, and of its units, accounts and rules, which are the last ones of their kind as long as no
 * target is feigned between. So what makes no sense is passed over, and what follows from the rest must be harmless when it
 * is not true. Throws `transport-failed` when there is no target in the text at all.
 */
export function parseTargets(text: string): readonly TgtTarget[] {
  const targets = blocksOf(text).flatMap((block) => (block.label.startsWith('Target ') ? targetOf(block) : []));
  if (targets.length === 0 && text.trim() !== '') throw notUnderstood('targets', text.trim().slice(0, 200));
  return targets;
}

/** A connection of a target. */
export interface TgtConnection {
  readonly sid: number;
  readonly cid: number;
}

const connectionSchema = z.object({ sid: count, cid: count });

/**
 * Reads what `tgtadm --mode conn --op show` prints of a target: every connection, and maybe some that an initiator's name
 * pretends.
 */
export function parseConnections(text: string): readonly TgtConnection[] {
  const found = blocksOf(text).flatMap(({ label, value: sid, blocks }) =>
    label !== 'Session' ? [] : blocks.flatMap((block) => (block.label === 'Connection' ? [{ sid, cid: block.value }] : [])),
  );
  return found.flatMap((connection) => connectionSchema.safeParse(connection).data ?? []);
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

/** Reads what `tgtadm --mode account --op show` prints: the names of the accounts. */
export function parseAccounts(text: string): readonly string[] {
  return blocksOf(text).flatMap(({ label, blocks }) => (label === 'Account list' ? blocks.map(({ line }) => line) : []));
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
  throw notUnderstood(what, z.prettifyError(parsed.error).slice(0, 500));
}

const notUnderstood = (what: string, why: string): ScoriaError =>
  new ScoriaError('transport-failed', `tgtadm tells of its ${what} what cannot be understood: ${why}`, {
    remedy: 'See whether this version of tgt prints something else; version 1.0.85 is known to work.',
  });
