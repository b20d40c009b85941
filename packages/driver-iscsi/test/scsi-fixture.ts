import type { Nexus, ScsiCommand } from '../src/scsi/command.ts';
import { blockDeviceCommands } from '../src/scsi/command-set.ts';
import { LogicalUnit } from '../src/scsi/logical-unit.ts';
import { Reservations } from '../src/scsi/reservations.ts';
import type { ReservationState } from '../src/scsi/reservation-state.ts';
import type { Sense } from '../src/scsi/sense.ts';
import { taskAttribute, type Task } from '../src/scsi/task-set.ts';
import { MemoryDevice } from './memory-device.ts';

/** What a command came to. */
export interface ScsiResult {
  /** `good`, `conflict`, or the sense as `key/asc/ascq` in hexadecimal. */
  readonly outcome: string;
  readonly data: Buffer;
  readonly sense: Sense | null;
}

const hex = (value: number): string => value.toString(16).padStart(2, '0');
const statusNames: Readonly<Record<number, string>> = { 0x08: 'busy', 0x18: 'conflict', 0x28: 'full' };

class FixtureTask implements ScsiCommand, Task {
  readonly cdb = Buffer.alloc(16);
  readonly lunExists = true;
  readonly attribute = taskAttribute.simple;
  readonly ended = Promise.withResolvers<ScsiResult>();
  readonly nexus: Nexus;
  readonly dataOut: Buffer;
  readonly announced: number;
  aborted = false;
  onAbort: (() => void) | null = null;
  readonly #unit: LogicalUnit;

  constructor(unit: LogicalUnit, nexus: Nexus, cdb: readonly number[], data: Buffer) {
    this.#unit = unit;
    this.nexus = nexus;
    Buffer.from(cdb).copy(this.cdb);
    this.announced = data.length;
    this.dataOut = data.subarray(0, Math.min(data.length, unit.dataOutLength(this.cdb)));
  }

  enable(): void {
    this.#unit.admit(this);
  }

  admitted(): void {
    this.#unit.execute(this);
  }

  abort(): void {
    this.aborted = true;
    this.onAbort?.();
  }

  allocate(length: number): Buffer {
    return Buffer.alloc(length);
  }

  good(data = Buffer.alloc(0)): void {
    this.#end({ outcome: 'good', data, sense: null });
  }

  check(sense: Sense): void {
    this.#end({ outcome: `${sense.key.toString(16)}/${hex(sense.asc)}/${hex(sense.ascq)}`, data: Buffer.alloc(0), sense });
  }

  end(status: number): void {
    this.#end({ outcome: statusNames[status] ?? hex(status), data: Buffer.alloc(0), sense: null });
  }

  #end(result: ScsiResult): void {
    this.#unit.taskSet.remove(this);
    this.ended.resolve(this.aborted ? { ...result, outcome: 'aborted' } : result);
  }
}

/** A logical unit with a device in memory, and initiators without a wire between. */
export class ScsiFixture {
  readonly device: MemoryDevice;
  readonly unit: LogicalUnit;
  /** Never registered, and told of nothing. */
  readonly #observer: Nexus = {
    initiatorName: 'iqn.2026-11.test:observer',
    isid: '00023d000001',
    targetName: 'iqn.2026-11.org.scoria:t',
    readOnly: true,
    unitAttentions: [],
  };
  /** What was kept of the reservations, latest last. */
  readonly kept: ReservationState[] = [];
  /** Awaited before a state counts as kept. */
  keep: (state: ReservationState) => Promise<void> = async () => {};

  constructor({ size = 1_048_576, blockSize = 512, readOnly = false, persists = true } = {}) {
    this.device = new MemoryDevice(size, blockSize, readOnly);
    const keep = async (state: ReservationState): Promise<void> => {
      await this.keep(state);
      this.kept.push(state);
    };
    this.unit = new LogicalUnit(
      '22222222-2222-4222-8222-222222222222',
      this.device,
      blockDeviceCommands,
      new Reservations(undefined, persists ? keep : null),
    );
  }

  /** A session of an initiator with a target; both have a letter for their name. */
  nexus(initiator: string, target = 't', changes: Partial<Nexus> = {}): Nexus {
    const nexus: Nexus = {
      initiatorName: `iqn.2026-11.test:${initiator}`,
      isid: '00023d000001',
      targetName: `iqn.2026-11.org.scoria:${target}`,
      readOnly: false,
      unitAttentions: [],
      ...changes,
    };
    this.unit.nexuses.add(nexus);
    this.unit.reservations.addTarget(nexus.targetName);
    return nexus;
  }

  run(nexus: Nexus, cdb: readonly number[], data: Buffer = Buffer.alloc(0)): Promise<ScsiResult> {
    const task = new FixtureTask(this.unit, nexus, cdb, data);
    this.unit.taskSet.add(task);
    return task.ended.promise;
  }

  /** Keys of all registrations, in the order of registration, and PRgeneration. */
  async keys(): Promise<{ keys: bigint[]; generation: number }> {
    const { data } = await this.run(this.#observer, persistentReserveIn(0));
    const keys = Array.from({ length: data.readUInt32BE(4) / 8 }, (_, index) => data.readBigUInt64BE(8 + 8 * index));
    return { keys, generation: data.readUInt32BE(0) };
  }

  /** Type and key of the persistent reservation, `null` when there is none. */
  async reservation(): Promise<{ type: number; key: bigint } | null> {
    const { data } = await this.run(this.#observer, persistentReserveIn(1));
    return data.readUInt32BE(4) === 0 ? null : { type: data[21]! & 0x0f, key: data.readBigUInt64BE(8) };
  }

  /** The outcome alone. */
  async outcome(nexus: Nexus, cdb: readonly number[], data?: Buffer): Promise<string> {
    return (await this.run(nexus, cdb, data)).outcome;
  }
}

/** Service actions of PERSISTENT RESERVE OUT. */
export const reserveOut = {
  register: 0,
  reserve: 1,
  release: 2,
  clear: 3,
  preempt: 4,
  preemptAndAbort: 5,
  registerIgnoringKey: 6,
  registerAndMove: 7,
} as const;

/** What a PERSISTENT RESERVE OUT says. */
export interface ReserveOutOptions {
  readonly type?: number;
  readonly scope?: number;
  readonly key?: bigint;
  readonly actionKey?: bigint;
  /** Byte 20: SPEC_I_PT 08h, ALL_TG_PT 04h, APTPL 01h. */
  readonly flags?: number;
  /** What follows the 24 bytes. */
  readonly more?: Buffer;
}

/** CDB and parameter list of a PERSISTENT RESERVE OUT, other than REGISTER AND MOVE. */
export function persistentReserveOut(action: number, options: ReserveOutOptions = {}): [number[], Buffer] {
  const { type = 0, scope = 0, key = 0n, actionKey = 0n, flags = 0, more = Buffer.alloc(0) } = options;
  const list = Buffer.alloc(24);
  list.writeBigUInt64BE(key, 0);
  list.writeBigUInt64BE(actionKey, 8);
  list[20] = flags;
  const data = Buffer.concat([list, more]);
  return [[0x5f, action, (scope << 4) | type, 0, 0, 0, 0, data.length >> 8, data.length & 255, 0], data];
}

/** CDB of a PERSISTENT RESERVE IN. */
export const persistentReserveIn = (action: number, room = 4096): number[] => [
  0x5e,
  action,
  0,
  0,
  0,
  0,
  0,
  room >> 8,
  room & 255,
  0,
];

/** Establishes registrations and a reservation: the first nexus holds it, the others are registered. */
export async function reserved(
  fixture: ScsiFixture,
  type: number,
  holder: Nexus,
  ...registrants: readonly Nexus[]
): Promise<void> {
  for (const [index, nexus] of [holder, ...registrants].entries()) {
    await fixture.run(nexus, ...persistentReserveOut(reserveOut.register, { actionKey: BigInt(index + 1) }));
  }
  const outcome = await fixture.outcome(holder, ...persistentReserveOut(reserveOut.reserve, { type, key: 1n }));
  if (outcome !== 'good') throw new Error(`the reservation was refused: ${outcome}`);
}

/** The unit attention conditions that wait for a nexus, as `asc/ascq`; it does not hear of them. */
export const attentions = (nexus: Nexus): string[] =>
  nexus.unitAttentions.splice(0).map(({ asc, ascq }) => `${asc.toString(16)}/${ascq.toString(16)}`);
