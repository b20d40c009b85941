import { mkdtemp, open, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  openPathDevice,
  SystemExec,
  systemClock,
  systemRandom,
  type AnyTransport,
  type ConnectionInfo,
  type DeviceLocator,
  type DeviceOpener,
  type ExportRequest,
  type Plugin,
} from '@scoria/core';
import { RecordingLog } from '../recording-log.ts';

/** A transport that is not started and exports nothing, made for one test. */
export interface TransportUnderTest {
  readonly transport: AnyTransport;
  readonly volumes: TestVolumes;
  /** A new transport of the same configuration, as in a new process. Default: the old one is started again. */
  restart?(): Promise<AnyTransport>;
  /** What the transport logs, to be searched for secrets. */
  readonly log?: RecordingLog;
  /** Ends what the test left running. */
  cleanup(): Promise<void>;
}

/** Where the suite gets volumes that the transport can export. {@link fileVolumes} fits those that reach kind `path`. */
export interface TestVolumes {
  /** Makes a volume that reads as zeroes. */
  create(size: number): Promise<DeviceLocator>;
  resize(locator: DeviceLocator, size: number): Promise<void>;
  /** Opens a volume beside the transport. */
  readonly open: DeviceOpener;
  remove(): Promise<void>;
}

/** A client's session, as the suite uses it. */
export interface Connection {
  readonly size: number;
  /** SCSI serial number of the logical unit, where the client can tell it. */
  readonly serial?: string | undefined;
  read(into: Uint8Array, offset: number): Promise<void>;
  write(data: Uint8Array, offset: number): Promise<void>;
  flush(): Promise<void>;
  /** Asks the target for its size again. */
  refreshSize(): Promise<number>;
  close(): Promise<void>;
}

/** Logs in. Rejects when the target refuses. */
export type Connect = (info: ConnectionInfo, request: ExportRequest) => Promise<Connection>;

/** Takes a part of a complete export away behind the transport's back, so that nobody can log in. */
export type Damage = (info: ConnectionInfo, request: ExportRequest) => Promise<void>;

/** Volumes as sparse files in a temporary directory. */
export async function fileVolumes(blockSize: 512 | 4096 = 512): Promise<TestVolumes> {
  const directory = await mkdtemp(join(tmpdir(), 'conformance-'));
  return {
    create: async (size) => {
      const path = join(directory, systemRandom.uuid());
      const file = await open(path, 'wx', 0o600);
      await file.truncate(size);
      await file.close();
      return { kind: 'path', path, blockSize };
    },
    resize: (locator, size) => truncate(locator.path, size),
    open: openPathDevice,
    remove: () => rm(directory, { recursive: true, force: true }),
  };
}

/**
 * Makes a transport of its plug-in, the way the server does, over volumes that are files.
 *
 * @param config - what the configuration would say; it is validated by the plug-in's schema.
 */
export async function startTransport(plugin: Plugin<'transport'>, config: unknown = {}): Promise<TransportUnderTest> {
  const baseDirectory = await mkdtemp(join(tmpdir(), 'conformance-'));
  const volumes = await fileVolumes();
  const log = new RecordingLog();
  const context = {
    name: 'conformance',
    config,
    installationId: systemRandom.uuid(),
    baseDirectory,
    clock: systemClock,
    random: systemRandom,
    log,
    exec: new SystemExec({ clock: systemClock, log }),
  };
  return {
    transport: plugin.create(context),
    restart: async () => plugin.create(context),
    volumes,
    log,
    cleanup: () => rm(baseDirectory, { recursive: true, force: true }),
  };
}
