import { z } from 'zod';
import { ScoriaError } from '../error/scoria-error.ts';
import type { Transaction } from '../event/outbox.ts';
import { leaveFailureMessage } from '../message/failure-message.ts';
import { defineOperation, type StepContext } from '../operation/definition.ts';
import { backendObject } from '../placement/backends.ts';
import { gibibyte } from '../quota/quotas.ts';
import type { Volume } from './volume.ts';

const inputSchema = z.object({
  volumeId: z.string(),
  placementId: z.string(),
  /** Bytes, before. */
  from: z.number().int().positive(),
  /** Bytes, after. */
  size: z.number().int().positive(),
});
type Input = z.infer<typeof inputSchema>;

const stateSchema = z.object({ backendId: z.string().optional(), realSize: z.number().optional() });
type State = z.infer<typeof stateSchema>;

/** Throws `invalid-input` unless a volume may become this small and the caller has confirmed the loss by the volume's id. */
export function requireShrinkable({ id, size: present }: Volume, size: number, confirmation: string | undefined): void {
  if (size >= present) {
    throw new ScoriaError(
      'invalid-input',
      `Volume ${id} has ${present / gibibyte} GiB; its new size must be smaller, not ${size / gibibyte} GiB.`,
    );
  }
  if (confirmation === id) return;
  throw new ScoriaError(
    'invalid-input',
    `Making volume ${id} smaller destroys its last ${present - size} bytes, from byte ${size} on, with all that is in them, ` +
      'and no snapshot will have them. To have that done, name the id of the volume as the confirmation.',
  );
}

/** Writes how large the volume is: its quota and claim follow. */
async function settle(
  transaction: Transaction,
  { input, state, operation, now }: StepContext<Input, State>,
  size: number,
): Promise<void> {
  const { volumeId, placementId } = input;
  const { projectId } = operation;
  await transaction.placements.update(placementId, {
    claimed: size,
    ...(state.realSize !== undefined && { size: state.realSize }),
  });
  await transaction.volumes.transition('every-project', volumeId, 'extendEnded', now, { to: 'available', patch: { size } });
  transaction.emit({ name: 'volume.changed', payload: { volumeId, projectId, status: 'available' } });
}

/** Makes a volume smaller that nobody uses. What lay beyond the new end is lost. */
export const shrinkVolume = defineOperation<Input, State>({
  name: 'volume.shrink',
  input: inputSchema,
  state: stateSchema,
  cancellable: false,
  steps: [
    {
      kind: 'effect',
      name: 'shrink',
      role: 'volume',
      async run(context) {
        const { input, services } = context;
        const placement = await services.store.reading.placements.get(input.placementId);
        const { name, driver } = services.backends.get(placement.backendId);
        if (!driver.shrink) throw new ScoriaError('not-supported', `Backend ${name} cannot make volumes smaller.`);
        return { realSize: (await driver.shrink(backendObject(placement), input.size, context)).size };
      },
      // Nothing comes back. Asked for no more than is left in any case, the driver tells how much that really is.
      async undo(context) {
        const { input, operation, services } = context;
        const placement = await services.store.reading.placements.get(input.placementId);
        const { driver } = services.backends.get(placement.backendId);
        try {
          return { realSize: (await driver.extend(backendObject(placement), input.size, context)).size };
        } catch (error) {
          // A backend that refuses to tell again and again has not made it smaller either.
          if (operation.attempts === 0 && ScoriaError.from(error).retryable) throw error;
          return {};
        }
      },
    },
    {
      kind: 'transaction',
      name: 'finish',
      role: 'volume',
      run: (transaction, context) => settle(transaction, context, context.input.size),
    },
  ],
  async failed(transaction, context, failure) {
    const { input, state } = context;
    // Whatever failed, the end of the volume may be gone all the same.
    const isSmaller = state.realSize !== undefined && state.realSize < input.from;
    await settle(transaction, context, isSmaller ? input.size : input.from);
    await leaveFailureMessage(transaction, context, failure);
  },
});
