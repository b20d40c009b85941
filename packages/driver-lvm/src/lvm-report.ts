import { ScoriaError } from '@scoria/core';
import { z } from 'zod';

/** A number that LVM prints as text; empty when it does not apply. */
const figure = z
  .string()
  .max(32)
  .transform((text, context) => {
    const parsed = Number(text);
    if (text !== '' && Number.isFinite(parsed) && parsed >= 0) return parsed;
    context.addIssue(`"${text}" is no figure`);
    return z.NEVER;
  });
const figureIfAny = z.union([z.literal('').transform(() => undefined), figure]);
const list = z
  .string()
  .max(65_536)
  .transform((text) => (text === '' ? [] : text.split(',')));
const text = z.string().max(4096);

const groupRow = z.object({
  vg_name: text,
  vg_size: figure,
  vg_free: figure,
  vg_extent_size: figure,
  vg_missing_pv_count: figure,
  vg_tags: list,
});
const volumeRow = z.object({
  lv_name: text,
  lv_uuid: text,
  lv_size: figure,
  lv_attr: z.string().min(9).max(16),
  lv_tags: list,
  lv_active: text,
  lv_device_open: text,
  lv_snapshot_invalid: text,
  lv_health_status: text,
  origin: text,
  origin_size: figureIfAny,
  pool_lv: text,
  data_percent: figureIfAny,
  metadata_percent: figureIfAny,
  lv_metadata_size: figureIfAny,
  lv_when_full: text,
});
/** What belongs to segments. Asked for of all logical volumes, LVM would print a row for each segment. */
const segmentFields = z.object({ chunk_size: figureIfAny, zero: text, discards: text, thin_id: text });
const segmentRow = segmentFields.extend({ lv_name: text });
const detailRow = volumeRow.extend(groupRow.shape).extend(segmentFields.shape);
/** A volume group as LVM reports it (vgs(8)). Sizes are bytes. */
export type GroupRow = z.infer<typeof groupRow>;
/** A logical volume as LVM reports it (lvs(8)). Sizes are bytes, fields that do not apply are empty. */
export type VolumeRow = z.infer<typeof volumeRow>;
/** The segment of a thin pool. */
export type SegmentRow = z.infer<typeof segmentRow>;
/** A logical volume with its group and its first segment. */
export type DetailRow = z.infer<typeof detailRow>;

const fields = (row: { readonly shape: object }): string => Object.keys(row.shape).join(',');
const form = ['--reportformat', 'json', '--units', 'b', '--nosuffix'];
/** Arguments of one of the five kinds of rows that fullreport(8) prints. */
const rows = (kind: string, names: string, selection: string): readonly string[] => [
  ...['--configreport', kind, '-o', names, '-S', selection],
];

const wholeReport = z.object({
  report: z
    .array(z.object({ vg: z.array(groupRow), lv: z.array(volumeRow), seg: z.array(segmentRow) }))
    .min(1)
    .max(1),
});
const detailReport = z.object({ report: z.array(z.object({ lv: z.array(detailRow) })).length(1) });
const rangesReport = z.object({ report: z.array(z.object({ lv: z.array(z.object({ seg_pe_ranges: text })) })).length(1) });

/** Arguments of lvm(8) that report a group, all its logical volumes, and its thin pools, in one run. */
export const wholeReportOf = (group: string): readonly string[] => [
  'fullreport',
  ...form,
  ...['--configreport', 'vg', '-o', fields(groupRow), '--configreport', 'lv', '-o', fields(volumeRow)],
  ...rows('seg', fields(segmentRow), 'segtype=thin-pool'),
  ...rows('pv', 'pv_name', 'pv_name=""'),
  ...rows('pvseg', 'pv_name', 'pv_name=""'),
  group,
];
/** Arguments that report one logical volume with its group. */
export const volumeReportOf = (group: string, name: string): readonly string[] => [
  'lvs',
  ...form,
  ...['-o', fields(detailRow)],
  `${group}/${name}`,
];
/** Arguments that report on which physical extents a logical volume lies. */
export const rangesReportOf = (group: string, name: string): readonly string[] => [
  'lvs',
  ...form,
  ...['-o', 'seg_pe_ranges', `${group}/${name}`],
];

/** LVM prints messages among the lines of a report, for example that it retries to read a damaged disk of another group. */
const reportLines = (stdout: string): string =>
  stdout
    .split('\n')
    .filter((line) => /^\s*[[\]{}",]/.test(line))
    .join('\n');

function parse<T>(what: string, schema: z.ZodType<T>, stdout: string): T {
  let value: unknown;
  try {
    value = JSON.parse(reportLines(stdout));
  } catch (error) {
    throw unreadable(what, error);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw unreadable(what, parsed.error);
  return parsed.data;
}

function unreadable(what: string, cause: unknown): ScoriaError {
  const told = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
  return new ScoriaError('backend-failed', `LVM's report of ${what} cannot be read: ${told}`.slice(0, 1_000), {
    cause,
    remedy: 'Run the command by hand and look at what it prints; LVM 2.02.158 or later is needed.',
  });
}

/** What {@link wholeReportOf} tells. */
export interface WholeReport {
  readonly group: GroupRow;
  readonly volumes: readonly VolumeRow[];
  /** Of thin pools. */
  readonly segments: readonly SegmentRow[];
}

/** Reads the output of {@link wholeReportOf}. */
export function parseWhole(group: string, stdout: string): WholeReport {
  const [report] = parse(`volume group ${group}`, wholeReport, stdout).report;
  const found = report?.vg[0];
  if (report === undefined || found === undefined) throw unreadable(`volume group ${group}`, 'there is no group in it');
  return { group: found, volumes: report.lv, segments: report.seg };
}

/** Reads the output of {@link volumeReportOf}. */
export function parseVolume(group: string, name: string, stdout: string): DetailRow {
  const found = parse(`${group}/${name}`, detailReport, stdout).report[0]?.lv[0];
  if (found === undefined) throw unreadable(`${group}/${name}`, 'there is no logical volume in it');
  return found;
}

/** Reads the output of {@link rangesReportOf}: physical volumes with ranges of extents, as lvextend(8) takes them. */
export function parseRanges(group: string, name: string, stdout: string): readonly string[] {
  const found = parse(`${group}/${name}`, rangesReport, stdout).report[0]?.lv ?? [];
  return found.flatMap(({ seg_pe_ranges }) => seg_pe_ranges.split(' ')).filter((range) => range !== '');
}
