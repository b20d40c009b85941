import { ScoriaError } from '../error/scoria-error.ts';

/** One named change of state: where it may start and where it may lead. */
export interface Transition<State extends string> {
  readonly from: readonly State[];
  readonly to: readonly [State, ...State[]];
}

/** All changes of state of one kind of resource. Repositories carry them out by compare-and-swap. */
export type TransitionTable<State extends string, Name extends string> = Readonly<Record<Name, Transition<State>>>;

/** Writes a transition table; the compiler checks the states, and names stay literal. */
export function defineTransitions<State extends string>() {
  return <Name extends string>(table: Record<Name, Transition<State>>): TransitionTable<State, Name> => table;
}

/** The state a transition leads to: `to` where the caller chooses one, else the only one that the table has. Throws `internal` when the table does not allow it. */
export function targetState<State extends string>(transition: Transition<State>, to: State | undefined): State {
  const state = to ?? transition.to[0];
  if (!transition.to.includes(state) || (to === undefined && transition.to.length > 1)) {
    throw new ScoriaError('internal', `The transition leads to ${transition.to.join(' or ')}, not to ${String(to)}`);
  }
  return state;
}
