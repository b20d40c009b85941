import { ScoriaError } from '@scoria/core';

/** What a logical volume of ours stands for in core. */
export type Kind = 'volume' | 'snapshot';

/** What the tags of a logical volume say. */
export interface Ownership {
  readonly backendId: string;
  readonly placementId: string;
  readonly kind: Kind;
  /** Whether it holds what it should; else it is being made, and a repeat goes on with it or begins anew. */
  readonly ready: boolean;
  /** Snapshots: placement id of the volume that they were taken of. */
  readonly source: string | null;
  /** Bytes, from the beginning, that an erasure under way has got behind it. */
  readonly erased: number;
}

/**
 * Roles of logical volumes that are ours, by the beginning of their names; the placement id follows. Only the first two
 * are objects of core. LVM keeps names that begin with `snapshot` for itself (lvm(8), "valid names").
 */
export const rolePrefixes = {
  volume: 'volume-',
  snapshot: 'snap-',
  /** Copy of a snapshot that is about to take the place of a volume. */
  reverting: 'revert-',
  /** Volume whose place such a copy has taken, or is about to take. */
  replaced: 'replaced-',
  /** Snapshot from which the volume of that placement id is being filled. */
  copying: 'copy-',
  /** Space that is being zeroed before a volume gets it. */
  growing: 'growth-',
  /** Deleted volume whose blocks thick snapshots still need. */
  deleted: 'deleted-',
} as const;
/** See {@link rolePrefixes}. */
export type Role = keyof typeof rolePrefixes;

const roles = ['volume', 'snapshot', 'reverting', 'replaced', 'copying', 'growing', 'deleted'] as const satisfies readonly Role[];
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const mark = 'scoria';

/** Name of the logical volume that has a role for a placement. */
export function nameOf(role: Role, placementId: string): string {
  if (!uuid.test(placementId)) {
    throw new ScoriaError('internal', `A placement id must be a lower-case UUID, not "${placementId}"`);
  }
  return `${rolePrefixes[role]}${placementId}`;
}

/** The role that a name of {@link nameOf} tells, `undefined` for any other name. */
export function roleOf(name: string): Role | undefined {
  return roles.find((role) => name.startsWith(rolePrefixes[role]) && uuid.test(name.slice(rolePrefixes[role].length)));
}

/** The tag that says that a logical volume holds what it should. */
export const readyTag = `${mark}.state=ready`;

/** The tag of what was there before us and is being taken over: whatever happens, it is not ours to remove. */
export const adoptingTag = `${mark}.state=adopting`;

/** The tag that keeps how far an erasure is. */
export const erasedTag = (bytes: number): string => `${mark}.erased=${bytes}`;

/** Tags of a logical volume of ours. */
export function tagsFor(of: Omit<Ownership, 'erased' | 'source'> & { readonly source?: string | null }): readonly string[] {
  return [
    mark,
    `${mark}.backend=${of.backendId}`,
    `${mark}.placement=${of.placementId}`,
    `${mark}.kind=${of.kind}`,
    ...(of.source ? [`${mark}.source=${of.source}`] : []),
    ...(of.ready ? [readyTag] : []),
  ];
}

/** Tags of a thin pool of ours. */
export const poolTags = (backendId: string): readonly string[] => [mark, `${mark}.backend=${backendId}`, `${mark}.kind=pool`];

/** Whether tags are of any installation of Scoria. */
export const isMarked = (tags: readonly string[]): boolean => tags.includes(mark);

/** Those of a volume's tags that are ours to remove when we let go of it. */
export const ourTags = (tags: readonly string[]): readonly string[] =>
  tags.filter((tag) => tag === mark || tag.startsWith(`${mark}.`));

function value(tags: readonly string[], key: string): string | undefined {
  const prefix = `${mark}.${key}=`;
  return tags.find((tag) => tag.startsWith(prefix))?.slice(prefix.length);
}

/** What the tags of a logical volume say; `undefined` when it stands for nothing of core. */
export function ownershipOf(tags: readonly string[]): Ownership | undefined {
  if (!isMarked(tags)) return undefined;
  const backendId = value(tags, 'backend');
  const placementId = value(tags, 'placement');
  const kind = value(tags, 'kind');
  if (backendId === undefined || placementId === undefined || !uuid.test(placementId)) return undefined;
  if (kind !== 'volume' && kind !== 'snapshot') return undefined;
  const source = value(tags, 'source') ?? null;
  const erased = Number(value(tags, 'erased') ?? 0);
  return {
    backendId,
    placementId,
    kind,
    source,
    ready: tags.includes(readyTag),
    erased: Number.isSafeInteger(erased) && erased >= 0 ? erased : 0,
  };
}

/** To whom a volume group belongs, by its tags. */
export interface GroupOwner {
  /** Usually one; two when two processes marked the group at the same moment. */
  readonly backendIds: readonly string[];
  readonly installationId: string | undefined;
}

/** Tags that mark a volume group as a backend of an installation. */
export const groupTags = (backendId: string, installationId: string): readonly string[] => [
  `${mark}.backend=${backendId}`,
  `${mark}.installation=${installationId}`,
];

/** What the tags of a volume group say about whose it is. */
export function groupOwnerOf(tags: readonly string[]): GroupOwner {
  const prefix = `${mark}.backend=`;
  return {
    backendIds: tags.filter((tag) => tag.startsWith(prefix)).map((tag) => tag.slice(prefix.length)),
    installationId: value(tags, 'installation'),
  };
}
