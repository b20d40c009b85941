/**
 * Limits of a project or of the default class, by resource: `volumes`, `snapshots` (numbers), `gigabytes`,
 * `per_volume_gigabytes` (GiB), and each but the last with `_<type name>` for one volume type. -1 means no limit.
 */
export type QuotaLimits = Readonly<Record<string, number>>;

/** Limits in force where nobody has set others: Cinder's. */
export const builtinQuotaLimits: QuotaLimits = {
  volumes: 10,
  snapshots: 10,
  gigabytes: 1000,
  per_volume_gigabytes: -1,
  backups: 10,
  backup_gigabytes: 1000,
  groups: 10,
};

/** The limits that a store keeps. What is used is a sum over the rows themselves. */
export interface QuotaRepository {
  /** Limits that were set for a project; nothing for those that follow the default class. */
  ofProject(projectId: string): Promise<QuotaLimits>;
  setForProject(projectId: string, limits: QuotaLimits): Promise<void>;
  /** The project follows the default class again. */
  resetProject(projectId: string): Promise<void>;
  /** Limits that were set for a class. */
  ofClass(name: string): Promise<QuotaLimits>;
  setForClass(name: string, limits: QuotaLimits): Promise<void>;
}
