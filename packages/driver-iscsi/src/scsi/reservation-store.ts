import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { ScoriaError, type Log } from '@scoria/core/device';
import { z } from 'zod';
import { Reservations } from './reservations.ts';
import { maxRegistrations, nexusId, reservationType, withoutTarget, type ReservationState } from './reservation-state.ts';

/** Longest file that is read, bytes; {@link maxRegistrations} of the longest names are less. */
const maxFileSize = 262_144;

const nexusName = { initiatorPort: z.string().min(1).max(242), targetName: z.string().min(1).max(223) };

/** What is in a file. */
const fileSchema = z.strictObject({
  version: z.literal(1),
  registrations: z
    .array(z.strictObject({ ...nexusName, key: z.string().regex(/^[0-9a-f]{16}$/) }))
    .min(1)
    .max(maxRegistrations),
  reservation: z
    .strictObject({
      type: z.union(Object.values(reservationType).map((type) => z.literal(type))),
      holder: z.strictObject(nexusName).nullable(),
    })
    .nullable(),
});

/**
 * The persistent reservations that outlive a loss of power (APTPL, SPC-4, 5.13.5): a file a volume in a directory of mode
 * 0700. What {@link write} has settled is on stable storage.
 */
export class ReservationStore {
  readonly #directory: string;
  readonly #log: Log;
  readonly #known = new Map<string, ReservationState>();
  /** Files that cannot be read, by volume id. */
  readonly #damaged = new Map<string, ScoriaError>();

  private constructor(directory: string, log: Log) {
    this.#directory = directory;
    this.#log = log;
  }

  /** Makes the directory and reads what is in it. Rejects with `backend-failed` when that cannot be done. */
  static async open(directory: string, log: Log): Promise<ReservationStore> {
    const store = new ReservationStore(directory, log);
    try {
      await makeDirectory(directory);
      for (const name of await readdir(directory)) await store.#load(name);
    } catch (error) {
      throw new ScoriaError('backend-failed', `Persistent reservations cannot be kept in ${directory}: ${reasonOf(error)}`, {
        cause: error,
        remedy: `Give the user that runs Scoria a directory ${directory} that it can read and write.`,
      });
    }
    return store;
  }

  /** The reservations of a volume that is being opened, which are kept here from now on. Throws like {@link read}. */
  reservationsOf(volumeId: string): Reservations {
    return new Reservations(this.read(volumeId), async (state) => {
      try {
        await this.write(volumeId, state);
      } catch (error) {
        // The initiator learns no more than that it failed.
        this.#log.error({ volumeId, error: ScoriaError.from(error).message }, 'persistent reservations were not changed');
        throw error;
      }
    });
  }

  /** What is kept for a volume. Throws `backend-failed` where that cannot be read: to forget it would let a fenced host write. */
  read(volumeId: string): ReservationState | undefined {
    const fault = this.#damaged.get(volumeId);
    if (fault !== undefined) throw fault;
    return this.#known.get(volumeId);
  }

  /**
   * Keeps a state, or removes the file of one that is not to persist or has no registration. Calls for one volume must not
   * overlap. Rejects with `backend-failed`.
   */
  async write(volumeId: string, state: ReservationState): Promise<void> {
    const path = join(this.#directory, `${volumeId}.json`);
    try {
      await this.#write(volumeId, state, path);
    } catch (error) {
      throw new ScoriaError('backend-failed', `The reservations of volume ${volumeId} cannot be kept: ${reasonOf(error)}`, {
        cause: error,
        remedy: `Make ${this.#directory} writable, and see that its file system has room.`,
      });
    }
  }

  async #write(volumeId: string, state: ReservationState, path: string): Promise<void> {
    if (!state.persists || state.registrations.size === 0) {
      if (!this.#known.has(volumeId)) return;
      await rm(path, { force: true });
      await syncDirectory(this.#directory);
      this.#known.delete(volumeId);
      return;
    }
    const temporary = `${path}.new`;
    await rm(temporary, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const file = await open(temporary, flags, 0o600);
    try {
      await file.writeFile(formatState(state));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    this.#known.set(volumeId, state);
    await syncDirectory(this.#directory);
  }

  /** Volumes with registrations through a target. */
  volumesOf(targetName: string): string[] {
    return [...this.#known]
      .filter(([, { registrations }]) => [...registrations.values()].some((known) => known.targetName === targetName))
      .map(([volumeId]) => volumeId);
  }

  /** Removes what was registered through a target with a volume that is not open. */
  async removeTarget(volumeId: string, targetName: string): Promise<void> {
    const state = this.#known.get(volumeId);
    if (state === undefined) return;
    const outcome = withoutTarget(state, targetName);
    if (outcome.kind === 'done') await this.write(volumeId, outcome.state);
  }

  async #load(name: string): Promise<void> {
    const path = join(this.#directory, name);
    // Left by a write that a crash cut short; the file itself is whole.
    if (name.endsWith('.new')) await rm(path, { force: true });
    if (!name.endsWith('.json')) return;
    const volumeId = name.slice(0, -'.json'.length);
    try {
      this.#known.set(volumeId, parseState(await readBounded(path)));
    } catch (error) {
      this.#damaged.set(volumeId, damaged(path, volumeId, error));
    }
  }
}

/** Makes a directory, and those above it that are missing, on stable storage. */
async function makeDirectory(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = resolve(path); made !== dirname(resolve(first)); made = dirname(made)) await syncDirectory(dirname(made));
}

/** Puts the entries of a directory on stable storage. */
async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function readBounded(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    if ((await file.stat()).size > maxFileSize) throw new Error('it is too long');
    return await readFile(file, 'utf8');
  } finally {
    await file.close();
  }
}

const damaged = (path: string, volumeId: string, cause: unknown): ScoriaError =>
  new ScoriaError('backend-failed', `The persistent reservations of volume ${volumeId} cannot be read from ${path}`, {
    cause,
    remedy: `Restore ${path}, or remove it when no host relies on the reservations of the volume, and start the target again.`,
  });

function formatState({ registrations, reservation }: ReservationState): string {
  const holder = reservation?.holder == null ? undefined : registrations.get(reservation.holder);
  const content: z.infer<typeof fileSchema> = {
    version: 1,
    registrations: Array.from(registrations.values(), ({ initiatorPort, targetName, key }) => ({
      initiatorPort,
      targetName,
      key: key.toString(16).padStart(16, '0'),
    })),
    reservation: reservation && {
      type: fileSchema.shape.reservation.unwrap().shape.type.parse(reservation.type),
      holder: holder === undefined ? null : { initiatorPort: holder.initiatorPort, targetName: holder.targetName },
    },
  };
  return `${JSON.stringify(content, null, 1)}\n`;
}

function parseState(text: string): ReservationState {
  const { registrations, reservation } = fileSchema.parse(JSON.parse(text));
  return {
    generation: 0,
    persists: true,
    registrations: new Map(registrations.map((known) => [nexusId(known), { ...known, key: BigInt(`0x${known.key}`) }])),
    reservation: reservation && { type: reservation.type, holder: reservation.holder && nexusId(reservation.holder) },
  };
}
