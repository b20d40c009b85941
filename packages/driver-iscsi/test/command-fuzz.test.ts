import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { blockDeviceCommands } from '../src/scsi/command-set.ts';
import {
  holds,
  isHeldByAll,
  nexusId,
  noReservations,
  reservationActions,
  reservationType,
  withoutTarget,
  type ReservationRequest,
} from '../src/scsi/reservation-state.ts';
import { ScsiFixture } from './scsi-fixture.ts';

// Whatever a CDB and its data say, a command ends, and the reservations make sense.

/** Runs of each property; many thousand of them find what a few hundred do not. */
const numRuns = z.coerce.number().int().positive().default(150).parse(process.env['SCORIA_FUZZ_RUNS']);
/** Time for them, ms. */
const patience = 30_000 + 100 * numRuns;

/** Small numbers make sense more often than random ones. */
const byte = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(0, 0, 1, 8, 24) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 255 }) },
);
const known = fc.constantFrom(...blockDeviceCommands.all).map(({ opcode, serviceAction }) => [opcode, serviceAction] as const);
const command = fc
  .tuple(known, fc.array(byte, { minLength: 15, maxLength: 15 }), fc.boolean())
  .map(([[opcode, action], rest, anyAction]) => [opcode, anyAction ? rest[0]! : (action ?? rest[0]!), ...rest.slice(1)]);
const step = fc.record({
  who: fc.integer({ min: 0, max: 2 }),
  cdb: command,
  data: fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.constantFrom(24, 512, 1024, 4096).map((length) => new Uint8Array(length)),
  ),
});

describe('a logical unit', () => {
  test(
    'ends every command, and goes on',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
          const fixture = new ScsiFixture({ size: 65_536 });
          const nexuses = [fixture.nexus('a'), fixture.nexus('b', 'u'), fixture.nexus('c', 't', { readOnly: true })];
          const running = steps.map(({ who, cdb, data }) => fixture.outcome(nexuses[who]!, cdb, Buffer.from(data)));
          for (const outcome of await Promise.all(running)) expect(outcome).toMatch(/^(good|conflict|[0-9a-f]\/..\/..)$/);
          expect(fixture.unit.taskSet.size).toBe(0);
          fixture.unit.gate.hold(fixture);
          await fixture.unit.gate.settled();
        }),
        { numRuns },
      );
    },
    patience,
  );
});

describe('persistent reservations', () => {
  const initiatorPort = fc.constantFrom('a,i,0x1', 'b,i,0x1');
  const targetName = fc.constantFrom('t', 't', 'u');
  const nexus = fc.record({ initiatorPort, targetName });
  const key = fc.constantFrom(0n, 1n, 1n, 1n, 2n);
  const request: fc.Arbitrary<ReservationRequest> = fc
    .record({
      nexus,
      key,
      actionKey: key,
      type: fc.constantFrom(2, ...Object.values(reservationType)),
      scope: fc.constantFrom(0, 0, 0, 0, 1),
      persists: fc.boolean(),
      allTargets: fc.boolean(),
      initiatorPorts: fc.oneof({ weight: 4, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: fc.array(initiatorPort) }),
      destination: fc.option(nexus),
      unregister: fc.boolean(),
    })
    .map(({ allTargets, ...rest }) => ({ ...rest, targetNames: allTargets ? ['t', 'u'] : [rest.nexus.targetName] }));
  const action = fc.constantFrom(...Object.values(reservationActions));

  test(
    'are held by who is registered, and what is preempted is registered no more',
    () => {
      fc.assert(
        fc.property(
          fc.array(fc.tuple(fc.oneof({ weight: 12, arbitrary: action }, { weight: 1, arbitrary: fc.constant(null) }), request), {
            maxLength: 40,
          }),
          (steps) => {
            let state = noReservations;
            for (const [act, asked] of steps) {
              const before = state;
              const outcome = act === null ? withoutTarget(state, asked.nexus.targetName) : act(state, asked);
              if (outcome.kind !== 'done') continue;
              state = outcome.state;
              const { reservation, registrations, generation } = state;
              for (const [id, registration] of registrations) {
                expect(nexusId(registration)).toBe(id);
                expect(registration.key).not.toBe(0n);
              }
              if (reservation !== null) {
                expect(registrations.size).toBeGreaterThan(0);
                expect(reservation.holder === null).toBe(isHeldByAll(reservation.type));
                expect([...registrations.keys()].some((id) => holds(state, id))).toBe(true);
              }
              expect([0, 1]).toContain(generation - before.generation);
              // Nobody loses its registration unheard, but by its own will or with its target.
              const own = nexusId(asked.nexus);
              for (const [id, { targetName: through }] of before.registrations) {
                const byItself =
                  id === own || act === reservationActions.register || act === reservationActions.registerIgnoringKey;
                if (registrations.has(id) || byItself || (act === null && through === asked.nexus.targetName)) continue;
                expect(outcome.attentions.has(id)).toBe(true);
              }
            }
          },
        ),
        { numRuns: 10 * numRuns },
      );
    },
    patience,
  );
});
