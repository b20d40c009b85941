import { ScoriaError, type Transition } from '@scoria/core';

/** The error of a change of status that the present status does not allow. */
export function refusedTransition<State extends string>(
  label: string,
  row: { readonly id: string; readonly status: State },
  name: string,
  transition: Transition<State>,
): ScoriaError {
  return new ScoriaError(
    'invalid-state',
    `${label} ${row.id} is ${row.status}; ${name} needs one of: ${transition.from.join(', ')}.`,
    {
      details: { id: row.id, status: row.status, allowed: transition.from },
    },
  );
}
