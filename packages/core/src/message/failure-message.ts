import type { Transaction } from '../event/outbox.ts';
import type { Failure, StepContext } from '../operation/definition.ts';

const lifetime = 30 * 24 * 3600 * 1000;

/** Leaves a user message that tells why an operation on a volume or snapshot failed; none when somebody cancelled it. */
export async function leaveFailureMessage(
  transaction: Transaction,
  context: StepContext<unknown, unknown>,
  failure: Failure,
): Promise<void> {
  if (failure.cancelled) return;
  const { operation, now, services } = context;
  await transaction.messages.insert({
    id: services.random.uuid(),
    projectId: operation.projectId,
    requestId: operation.requestId,
    resourceType: operation.resourceKind === 'snapshot' ? 'VOLUME_SNAPSHOT' : 'VOLUME',
    resourceId: operation.resourceId,
    level: 'ERROR',
    code: failure.error.code,
    action: operation.name,
    text: `${failure.error.message} ${failure.error.remedy}`,
    createdAt: now,
    guaranteedUntil: now + lifetime,
  });
}
