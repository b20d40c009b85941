/** What Cinder has and this service does not, by the word of the URL after the project. */
const resources: Readonly<Record<string, string>> = {
  backups: 'There are no backups here',
  cgsnapshots: 'There are no consistency groups here',
  clusters: 'There are no clusters here',
  consistencygroups: 'There are no consistency groups here',
  'default-types': 'Projects have no default volume types of their own here; one is the default of all',
  group_snapshots: 'There are no groups of volumes here',
  group_types: 'There are no groups of volumes here',
  groups: 'There are no groups of volumes here',
  manageable_snapshots: 'Snapshots cannot be taken over here, only volumes',
  'os-hosts': 'Hosts are not shown by themselves here; ask for services and pools',
  'os-snapshot-manage': 'Snapshots cannot be taken over here, only volumes',
  'os-volume-transfer': 'Volumes cannot be given to another project here',
  'volume-transfers': 'Volumes cannot be given to another project here',
  workers: 'Work that a crash interrupted goes on or is undone by itself here; no clean-up is needed',
};

const serviceActions: Readonly<Record<string, string>> = {
  failover_host: 'There is no replication here, so nothing to fail over to',
  failover: 'There is no replication here, so nothing to fail over to',
  freeze: 'Services are not frozen here; disable them',
  thaw: 'Services are not frozen here; enable them',
  'get-log': 'Log levels are not changed while the service runs',
  'set-log': 'Log levels are not changed while the service runs',
};

const noImages = 'No image service is configured here';
const observed =
  'Statuses follow from what is done and found here; see which operation holds the resource, cancel it, or delete by force';

const actions: Readonly<Record<string, string>> = {
  'os-extend_volume_completion': 'Nobody has to complete an extend here',
  'os-reimage': noImages,
  'os-reset_status': observed,
  'os-set_image_metadata': noImages,
  'os-show_image_metadata': noImages,
  'os-unmanage': 'Snapshots cannot be let go here, only volumes',
  'os-unset_image_metadata': noImages,
  'os-update_snapshot_status': observed,
  'os-volume_upload_image': noImages,
};

/**
 * Why nothing of Cinder's API is found at a path, in words for its caller; `undefined` for what Cinder has not either.
 *
 * @param path - the URL's path below `/v3`, with or without a project.
 */
export function absentResource(path: string): string | undefined {
  const words = path.split('/').filter((word) => word !== '');
  const [resource, item, ...rest] = words[0] !== undefined && isKnown(words[0]) ? words : words.slice(1);
  if (resource === 'os-services' && item !== undefined) return own(serviceActions, item);
  if (resource === 'types' && rest[0] === 'encryption') return 'There is no encryption of volumes here';
  return resource === undefined ? undefined : own(resources, resource);
}

/** The same of an action that its resource does not have. */
export function absentAction(name: string): string | undefined {
  return own(actions, name);
}

function isKnown(word: string): boolean {
  return word === 'os-services' || word === 'types' || Object.hasOwn(resources, word);
}

function own(table: Readonly<Record<string, string>>, word: string): string | undefined {
  return Object.hasOwn(table, word) ? table[word] : undefined;
}
