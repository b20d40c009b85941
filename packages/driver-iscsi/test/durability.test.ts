import { copyDevice } from '@scoria/core/device';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { cdbs } from './test-initiator.ts';
import { TargetFixture, volumeId } from './target-fixture.ts';
import { VolatileDevice } from './volatile-device.ts';

const blocks = 16;
const block = 512;
const fua = 0x08;

type Step =
  | { readonly kind: 'flush' }
  | { readonly kind: 'write'; readonly lba: number; readonly count: number; readonly fua: boolean };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('write' as const),
        lba: fc.nat(blocks - 4),
        count: fc.integer({ min: 1, max: 4 }),
        fua: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('flush' as const) }) },
  ),
  { minLength: 1, maxLength: 24 },
);

test('what an initiator flushed or wrote through survives the loss of power; what it wrote since may or may not', async () => {
  const run = async (sequence: readonly Step[], seed: number) => {
    const fixture = new TargetFixture();
    const device = new VolatileDevice(blocks * block);
    fixture.devices.set('/volume', device);
    await fixture.service.start();
    try {
      await fixture.export();
      const initiator = await fixture.session();
      /** For each block, the values that it may have: the durable one first. */
      const allowed = Array.from({ length: blocks }, () => [0]);
      for (const [index, step] of sequence.entries()) {
        if (step.kind === 'flush') {
          await initiator.command(cdbs.synchronizeCache10);
          for (const values of allowed) values.splice(0, values.length - 1);
          continue;
        }
        const stamp = index + 1;
        const data = Buffer.alloc(step.count * block, stamp);
        const { status } = await initiator.command(cdbs.write10(step.lba, step.count, step.fua ? fua : 0), { data });
        expect(status).toBe(0);
        for (let at = step.lba; at < step.lba + step.count; at += 1) {
          if (step.fua) allowed[at] = [stamp];
          else allowed[at]?.push(stamp);
        }
      }
      let random = seed;
      device.losePower((count) => (random = (random * 1103515245 + 12345) & 0x7fffffff) % count);
      for (const [at, values] of allowed.entries()) expect(values).toContain(device.content[at * block]);
    } finally {
      await fixture.stop();
    }
  };
  await fc.assert(fc.asyncProperty(steps, fc.nat(), run), { numRuns: 40 });
});

test('a copy that is reported done survives the loss of power', async () => {
  const source = new VolatileDevice(64 * block);
  await source.write(Buffer.alloc(8 * block, 7), 16 * block);
  const target = new VolatileDevice(64 * block);
  await target.write(Buffer.alloc(64 * block, 9), 0);
  await copyDevice(source, target, { signal: new AbortController().signal, progress: () => {} });
  target.losePower(() => 0);
  expect(target.content.equals(source.content)).toBe(true);
});

test('after a move both what was copied and what was flushed meanwhile are on the new device', async () => {
  const fixture = new TargetFixture();
  const [source, target] = [new VolatileDevice(4096 * block), new VolatileDevice(4096 * block)];
  fixture.devices.set('/volume', source);
  fixture.devices.set('/target', target);
  await fixture.service.start();
  try {
    await fixture.export();
    const initiator = await fixture.session();
    const write = async (lba: number, value: number) =>
      expect(await initiator.command(cdbs.write10(lba, 1), { data: Buffer.alloc(block, value) })).toMatchObject({ status: 0 });
    await write(0, 1);
    const call = { signal: new AbortController().signal, progress: () => {} };
    await fixture.service.mirror({ volumeId, source: fixture.locator(), target: fixture.locator('/target') }, call);
    await write(1, 2);
    await fixture.service.commitMirror({ volumeId });
    await write(2, 3);
    await initiator.command(cdbs.synchronizeCache10);
    await write(3, 4);
    await fixture.service.endMirror({ volumeId, keep: 'target' });
    await write(4, 5);
    await initiator.command(cdbs.synchronizeCache10);
    target.losePower(() => 0);
    expect([0, 1, 2, 3, 4].map((lba) => target.content[lba * block])).toEqual([1, 2, 3, 4, 5]);
  } finally {
    await fixture.stop();
  }
});
