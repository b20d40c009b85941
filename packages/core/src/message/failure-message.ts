import type { ScoriaError } from '../error/scoria-error.ts';
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
    text: failureText(failure.error),
    createdAt: now,
    guaranteedUntil: now + lifetime,
  });
}

/** What a user is told of an error, and what to do about it, in sentences. */
export function failureText({ code, message, remedy }: Pick<ScoriaError, 'code' | 'message' | 'remedy'>): string {
  // What a bug says is for the log: it may name things that are no business of the user.
  const said = code === 'internal' ? 'Something failed that should not' : message;
  return `${/[.!?]$/.test(said) ? said : `${said}.`} ${remedy}`;
}
