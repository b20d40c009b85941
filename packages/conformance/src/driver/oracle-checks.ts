import assert from 'node:assert/strict';
import type { BackendObject, BlockDevice, CreatedCopy } from '@scoria/core';
import { assertPattern, pattern, writePattern } from '../pattern.ts';
import { assertMoment, writeRounds } from '../rounds.ts';
import { sequence } from '../sequence.ts';
import { plainCall, volumeSize, type DriverBench } from './driver-bench.ts';
import type { DriverChecks } from './driver-check.ts';

const MiB = 1024 * 1024;

interface Modelled {
  readonly object: BackendObject;
  readonly content: Buffer;
}

/** Content compared with what plain memory holds. */
export const oracleChecks: DriverChecks = {
  'oracle-mix': {
    verb: 'createSnapshot',
    contract: 'Removes a snapshot. Its volume and copies made of it are not affected.',
    demand:
      'after a long mix of writes, snapshots, copies, reverts, extends, deletes and restarts every byte is as a model has it',
    run: async (bench) => {
      const model = new Model(bench);
      await model.create();
      for (let step = 1; step <= 60; step++) await model.step(step);
      await bench.restart();
      await model.verify();
    },
  },

  'snapshot-moment': {
    verb: 'createSnapshot',
    contract: 'the content is there, as it was at one moment during the call.',
    demand: 'a snapshot that is taken while its volume is written is a point in time',
    run: (bench) => moment(bench, (target, source) => bench.driver.createSnapshot(target, source, plainCall)),
  },

  'delete-bytes-snapshot': {
    verb: 'deleteSnapshot',
    contract: 'Makes an empty volume that reads as zeroes.',
    demand: 'the bytes of a deleted snapshot do not show up in a new volume',
    run: async (bench) => {
      const volume = await bench.volume();
      await bench.using(volume, (device) => writePattern(device, 1, 0, volumeSize));
      const snapshot = await bench.snapshot(volume);
      await bench.driver.deleteSnapshot(snapshot, plainCall);
      for (let count = 0; count < 2; count++) {
        const fresh = await bench.volume();
        await bench.using(fresh, (device) => assertPattern(device, 0, 0, volumeSize, 'a volume made after a delete'));
      }
    },
  },
};

/** Capability `clone`: like a snapshot under writes. */
export const cloneMomentChecks: DriverChecks = {
  'clone-moment': {
    verb: 'clone',
    contract: 'the content is there, as it was at one moment during the call.',
    demand: 'a clone that is made while its source is written is a point in time',
    run: (bench) =>
      moment(bench, (target, source) => {
        assert(bench.driver.clone, 'the driver declares "clone" and has no such method');
        return bench.driver.clone(target, source, plainCall);
      }),
  },
};

async function moment(
  bench: DriverBench,
  copy: (target: BackendObject, source: BackendObject) => Promise<CreatedCopy>,
): Promise<void> {
  const volume = await bench.volume();
  const device = await bench.open(volume);
  await writePattern(device, 1, 0, volumeSize);
  const request = bench.request();
  const made = await writeRounds(device, volumeSize, () => copy(request, volume));
  await bench.using({ ...request, ...made }, async (target) => {
    // Core fills what was only allocated, with the volume's writes held.
    if (made.filled) await assertMoment(target, volumeSize);
    else await assertPattern(target, 0, 0, volumeSize, 'a copy that was only allocated');
  });
}

/** Volumes and snapshots beside plain memory that has gone through the same. */
class Model {
  readonly #bench: DriverBench;
  readonly #volumes: Modelled[] = [];
  readonly #snapshots: Modelled[] = [];
  readonly #random = sequence(4_711);

  constructor(bench: DriverBench) {
    this.#bench = bench;
  }

  async create(): Promise<void> {
    const object = await this.#bench.volume(MiB);
    this.#volumes.push({ object, content: Buffer.alloc(object.size) });
  }

  async step(step: number): Promise<void> {
    const volume = this.#volumes[this.#below(this.#volumes.length)];
    if (!volume) return this.create();
    const choice = this.#random();
    if (choice < 0.45) await this.#write(volume, step);
    else if (choice < 0.6) await this.#snapshot(volume);
    else if (choice < 0.72) await this.#copy(volume);
    else if (choice < 0.8) await this.#extend(volume);
    else if (choice < 0.87) await this.#revert();
    else if (choice < 0.93) await this.#drop(this.#snapshots, (object) => this.#bench.driver.deleteSnapshot(object, plainCall));
    else if (choice < 0.97) await this.#drop(this.#volumes, (object) => this.#bench.driver.delete(object, plainCall));
    else await this.#bench.restart();
    if (step % 15 === 0) await this.verify();
  }

  async verify(): Promise<void> {
    for (const [kind, all] of [['volume', this.#volumes] as const, ['snapshot', this.#snapshots] as const]) {
      for (const { object, content } of all) {
        await this.#bench.using(object, async (device) => {
          const found = Buffer.alloc(content.byteLength, 0xa5);
          assert.equal(device.size, content.byteLength, `size of ${kind} ${object.placementId}`);
          await device.read(found, 0);
          const wrong = found.equals(content) ? -1 : found.findIndex((byte, index) => byte !== content[index]);
          assert.equal(wrong, -1, `${kind} ${object.placementId} differs from the model at byte ${wrong}`);
        });
      }
    }
    const ids = [...this.#volumes, ...this.#snapshots].map(({ object }) => object.placementId);
    assert.deepEqual(new Set((await this.#bench.list()).map(({ placementId }) => placementId)), new Set(ids), 'what is listed');
  }

  async #write({ object, content }: Modelled, step: number): Promise<void> {
    await this.#bench.using(object, async (device) => {
      for (let count = 0; count < 4; count++) {
        const [offset, length] = this.#range(device);
        if (this.#random() < 0.7) {
          const data = pattern(step, offset, length);
          await device.write(data, offset);
          content.set(data, offset);
        } else {
          await device.discard(offset, length);
          content.fill(0, offset, offset + length);
        }
      }
      await device.flush();
    });
  }

  async #snapshot({ object, content }: Modelled): Promise<void> {
    if (this.#snapshots.length >= 6) return;
    this.#snapshots.push({ object: await this.#bench.snapshot(object), content: Buffer.from(content) });
  }

  async #copy({ object: volume, content: present }: Modelled): Promise<void> {
    if (this.#volumes.length >= 6) return;
    const { driver } = this.#bench;
    const snapshot = this.#snapshots.at(-1);
    const request = (size: number) => this.#bench.request(size);
    if (snapshot && driver.createFromSnapshot) {
      const wanted = request(snapshot.content.byteLength);
      const made = await driver.createFromSnapshot(wanted, snapshot.object, plainCall);
      const object = await this.#bench.filled(wanted, made, snapshot.object);
      this.#volumes.push({ object, content: Buffer.from(snapshot.content) });
    } else if (driver.clone) {
      const wanted = request(present.byteLength);
      const object = await this.#bench.filled(wanted, await driver.clone(wanted, volume, plainCall), volume);
      this.#volumes.push({ object, content: Buffer.from(present) });
    } else await this.create();
  }

  async #extend(volume: Modelled): Promise<void> {
    const { size } = await this.#bench.driver.extend(volume.object, volume.content.byteLength + MiB / 4, plainCall);
    const content = Buffer.concat([volume.content, Buffer.alloc(size - volume.content.byteLength)]);
    this.#volumes[this.#volumes.indexOf(volume)] = { object: { ...volume.object, size }, content };
  }

  async #revert(): Promise<void> {
    const { driver } = this.#bench;
    const [volume, snapshot] = [this.#volumes[0], this.#snapshots.at(-1)];
    if (!driver.revert || !volume || !snapshot || snapshot.content.byteLength > volume.content.byteLength) return;
    const { done } = await driver.revert(volume.object, snapshot.object, plainCall);
    if (!done) await this.#bench.copy(snapshot.object, volume.object);
    volume.content.fill(0).set(snapshot.content);
  }

  async #drop(from: Modelled[], remove: (object: BackendObject) => Promise<void>): Promise<void> {
    const [gone] = from.splice(this.#below(from.length), 1);
    if (gone) await remove(gone.object);
  }

  #range({ size, blockSize }: BlockDevice): [number, number] {
    const length = (1 + this.#below(96)) * blockSize;
    return [this.#below((size - length) / blockSize + 1) * blockSize, length];
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}
