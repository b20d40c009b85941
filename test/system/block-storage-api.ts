import { z } from 'zod';
import { until } from './polling.ts';

/** Where to log in, as whom. */
export interface Credentials {
  /** URL of the service, without a path. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly project: string;
}

/** An answer, whatever its status. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

/** Milliseconds after which a request is given up. */
const requestDeadline = 30_000;

const attachmentOfVolume = z.looseObject({ attachment_id: z.string(), host_name: z.string().nullable() });
const volumeSchema = z.looseObject({
  id: z.string(),
  name: z.string().nullable(),
  status: z.string(),
  size: z.int(),
  metadata: z.record(z.string(), z.string()),
  attachments: z.array(attachmentOfVolume),
});
/** A volume, as far as tests look at it. */
export type VolumeBody = z.output<typeof volumeSchema>;
const snapshotSchema = z.looseObject({ id: z.string(), volume_id: z.string(), status: z.string(), size: z.int() });
/** A snapshot, as far as tests look at it. */
export type SnapshotBody = z.output<typeof snapshotSchema>;
const connectionSchema = z.looseObject({
  target_portal: z.string(),
  target_iqn: z.string(),
  target_lun: z.literal(0),
  auth_method: z.literal('CHAP'),
  auth_username: z.string(),
  auth_password: z.string(),
  volume_id: z.string(),
});
/** What a host needs to log in, as an attachment gives it. */
export type Connection = z.output<typeof connectionSchema>;
const attachmentSchema = z.looseObject({
  id: z.string(),
  status: z.string(),
  volume_id: z.string(),
  connection_info: z.record(z.string(), z.unknown()),
});
/** An attachment, as far as tests look at it. */
export type AttachmentBody = z.output<typeof attachmentSchema>;
const operationSchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  status: z.string(),
  resource: z.object({ kind: z.string(), id: z.string() }),
  progress: z.object({ done: z.number(), total: z.number() }).loose().nullable(),
  error: z.looseObject({ code: z.string(), message: z.string() }).nullable(),
});
/** An operation, as far as tests look at it. */
export type OperationBody = z.output<typeof operationSchema>;

/** What `POST /volumes` takes. */
export interface VolumeWanted {
  readonly size?: number;
  readonly name?: string;
  readonly volume_type?: string;
  readonly snapshot_id?: string;
  readonly source_volid?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A caller of the Block Storage API over plain HTTP, logged in. */
export class BlockStorageApi {
  readonly projectId: string;
  readonly #url: string;
  readonly #token: string;
  readonly #patience: number;

  private constructor(url: string, token: string, projectId: string, patience = 20_000) {
    this.#patience = patience;
    this.#url = url;
    this.#token = token;
    this.projectId = projectId;
  }

  static async login({ url, user, password, project }: Credentials): Promise<BlockStorageApi> {
    const domain = { name: 'Default' };
    const response = await fetch(`${url}/identity/v3/auth/tokens`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        auth: {
          identity: { methods: ['password'], password: { user: { name: user, password, domain } } },
          scope: { project: { name: project, domain } },
        },
      }),
      signal: AbortSignal.timeout(requestDeadline),
    });
    const token = response.headers.get('X-Subject-Token');
    if (response.status !== 201 || token === null) throw new Error(`Login as ${user} was answered with ${response.status}`);
    const body = z.object({ token: z.looseObject({ project: z.looseObject({ id: z.string() }) }) }).parse(await response.json());
    return new BlockStorageApi(url, token, body.token.project.id);
  }

  /** The same caller, who waits at most so many milliseconds for a status. */
  withPatience(ms: number): BlockStorageApi {
    return new BlockStorageApi(this.#url, this.#token, this.projectId, ms);
  }

  /** Sends a request to a path of the service; `/volumes` and the like are below `/v3/PROJECT`. */
  async send(method: string, path: string, body?: unknown, version = '3.65'): Promise<Answer> {
    const full = path.startsWith('/scoria/') ? path : `/v3/${this.projectId}${path}`;
    const response = await fetch(this.#url + full, {
      method,
      headers: {
        'X-Auth-Token': this.#token,
        'OpenStack-API-Version': `volume ${version}`,
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(requestDeadline),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
  }

  /** Like {@link send}; an answer of another status is an error that shows it. */
  async call(status: number, method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await this.send(method, path, body);
    if (answer.status !== status) {
      throw new Error(`${method} ${path} was answered with ${answer.status}: ${JSON.stringify(answer.body)}`);
    }
    return answer;
  }

  /** Asks for a volume; `operation` is the id of the work that was begun. */
  async createVolume(wanted: VolumeWanted): Promise<{ readonly id: string; readonly operation: string }> {
    const answer = await this.call(202, 'POST', '/volumes', { volume: wanted });
    return { id: z.object({ volume: volumeSchema }).parse(answer.body).volume.id, operation: operationOf(answer) };
  }

  /** Makes a volume and waits until it can be used. */
  async newVolume(wanted: VolumeWanted): Promise<string> {
    const { id } = await this.createVolume(wanted);
    await this.volumeIs(id, 'available');
    return id;
  }

  async volume(id: string): Promise<VolumeBody> {
    return z.object({ volume: volumeSchema }).parse((await this.call(200, 'GET', `/volumes/${id}`)).body).volume;
  }

  async volumes(query = ''): Promise<readonly VolumeBody[]> {
    const { body } = await this.call(200, 'GET', `/volumes/detail${query}`);
    return z.looseObject({ volumes: z.array(volumeSchema) }).parse(body).volumes;
  }

  async snapshots(query = ''): Promise<readonly SnapshotBody[]> {
    const { body } = await this.call(200, 'GET', `/snapshots/detail${query}`);
    return z.looseObject({ snapshots: z.array(snapshotSchema) }).parse(body).snapshots;
  }

  /** Waits until a volume has a status. Fails at once when it has gone to an error. */
  async volumeIs(id: string, status: string): Promise<VolumeBody> {
    const settled = (found: string) => found === status || found.startsWith('error');
    const volume = await until(
      `volume ${id} ${status}`,
      async () => {
        const found = await this.volume(id);
        return settled(found.status) ? found : undefined;
      },
      this.#patience,
    );
    if (volume.status !== status) throw new Error(`Volume ${id} is in status ${volume.status}, not ${status}`);
    return volume;
  }

  async volumeIsGone(id: string): Promise<void> {
    await until(
      `the end of volume ${id}`,
      async () => ((await this.send('GET', `/volumes/${id}`)).status === 404 ? true : undefined),
      this.#patience,
    );
  }

  async deleteVolume(id: string): Promise<void> {
    await this.call(202, 'DELETE', `/volumes/${id}`);
    await this.volumeIsGone(id);
  }

  /** An action on a volume. The body of the answer goes back. */
  async volumeAction(id: string, action: string, body: unknown, status = 202): Promise<unknown> {
    return (await this.call(status, 'POST', `/volumes/${id}/action`, { [action]: body })).body;
  }

  /** Makes a snapshot and waits until it can be used. */
  async newSnapshot(volumeId: string): Promise<string> {
    const { body } = await this.call(202, 'POST', '/snapshots', { snapshot: { volume_id: volumeId, force: true } });
    const { id } = z.object({ snapshot: snapshotSchema }).parse(body).snapshot;
    await until(
      `snapshot ${id} available`,
      async () => {
        const answer = await this.call(200, 'GET', `/snapshots/${id}`);
        const { status } = z.object({ snapshot: snapshotSchema }).parse(answer.body).snapshot;
        if (status.startsWith('error')) return status;
        return status === 'available' ? status : undefined;
      },
      this.#patience,
    ).then((status) => {
      if (status !== 'available') throw new Error(`Snapshot ${id} is in status ${status}`);
    });
    return id;
  }

  /** Attaches as Nova does: an attachment is reserved, gets a connector, and is completed. */
  async attach(volumeId: string, connector: Readonly<Record<string, unknown>> = testConnector): Promise<Attached> {
    const reserved = await this.call(200, 'POST', '/attachments', {
      attachment: { volume_uuid: volumeId, instance_uuid: crypto.randomUUID(), connector: null },
    });
    const { id } = z.object({ attachment: attachmentSchema }).parse(reserved.body).attachment;
    const updated = await this.call(200, 'PUT', `/attachments/${id}`, { attachment: { connector } });
    const { attachment } = z.object({ attachment: attachmentSchema }).parse(updated.body);
    await this.call(204, 'POST', `/attachments/${id}/action`, { 'os-complete': {} });
    return { id, volumeId, connection: connectionOf(attachment.connection_info) };
  }

  async detach(attachmentId: string): Promise<void> {
    await this.call(200, 'DELETE', `/attachments/${attachmentId}`);
  }

  async attachments(query = ''): Promise<readonly AttachmentBody[]> {
    const { body } = await this.call(200, 'GET', `/attachments/detail${query}`);
    return z.looseObject({ attachments: z.array(attachmentSchema) }).parse(body).attachments;
  }

  async operation(id: string): Promise<OperationBody> {
    const { body } = await this.call(200, 'GET', `/scoria/v1/operations/${id}`);
    return z.object({ operation: operationSchema }).parse(body).operation;
  }
}

/** An attachment that a host may log in to. */
export interface Attached {
  readonly id: string;
  readonly volumeId: string;
  readonly connection: Connection;
}

/** A connector as os-brick gives it, of a host that is not this one. */
export const testConnector = {
  initiator: 'iqn.2026-11.example:host-1',
  host: 'host-1',
  ip: '127.0.0.1',
  multipath: false,
  platform: 'x86_64',
  os_type: 'linux',
  do_local_attach: false,
} as const;

/** Reads connection info. */
export function connectionOf(info: unknown): Connection {
  return connectionSchema.parse(info);
}

/** Id of the operation that a request has begun. */
export function operationOf(answer: Answer): string {
  const id = answer.headers.get('X-Scoria-Operation-Id');
  if (id === null) throw new Error('The answer names no operation');
  return id;
}
