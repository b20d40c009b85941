import {
  definePlugin,
  type ExportRequest,
  type Plugin,
  type PointInTimeSupport,
  ScoriaError,
  type Transport,
} from '@scoria/core';
import { z } from 'zod';

/** A transport without a wire: it remembers what is exported, and refuses what a test wants refused. */
export class RecordingTransport implements Transport, PointInTimeSupport {
  readonly reaches = ['memory', 'path'];
  readonly exports = new Map<string, ExportRequest>();
  readonly calls: string[] = [];
  /** Accesses of which only a part is there until they are exported again. */
  readonly halfMade = new Set<string>();
  /** Verbs that fail now, with `transport-failed`. */
  readonly failing = new Set<string>();

  async start(): Promise<void> {}
  async stop(): Promise<void> {}

  async export(request: ExportRequest): Promise<void> {
    this.note('export');
    this.exports.set(request.accessId, request);
    this.halfMade.delete(request.accessId);
  }

  async unexport(accessId: string): Promise<void> {
    this.note('unexport');
    this.exports.delete(accessId);
  }

  async list() {
    return [...this.exports.values()].map(({ accessId, volumeId, readOnly }) => ({
      accessId,
      volumeId,
      readOnly,
      complete: !this.halfMade.has(accessId),
      sessions: [],
    }));
  }

  async resize(): Promise<void> {
    this.note('resize');
  }

  async hold(volumeId: string) {
    this.note('hold');
    return [...this.exports.values()].some((request) => request.volumeId === volumeId) ? 'token' : null;
  }

  async release() {
    this.note('release');
    return { held: !this.failing.has('held') };
  }

  async copy(): Promise<void> {
    this.note('copy');
  }

  connectionInfo({ accessId, secret }: ExportRequest) {
    return { driverVolumeType: 'recorded', data: { target: accessId, secret } };
  }

  async stats() {
    return [];
  }

  protected note(verb: string): void {
    this.calls.push(verb);
    if (this.failing.has(verb)) throw new ScoriaError('transport-failed', `The target refuses to ${verb}.`);
  }
}

/** A plug-in that gives this transport. */
export function recordingTransport(transport: RecordingTransport): Plugin<'transport'> {
  return definePlugin({ name: 'recording', kind: 'transport', api: '^1.0', config: z.strictObject({}), create: () => transport });
}
