import { senseOf, type Sense } from './sense.ts';

/** TYPE of a persistent reservation (SPC-4, 6.15.3.4). */
export const reservationType = {
  writeExclusive: 1,
  exclusiveAccess: 3,
  writeExclusiveRegistrants: 5,
  exclusiveAccessRegistrants: 6,
  writeExclusiveAll: 7,
  exclusiveAccessAll: 8,
} as const;

const knownTypes: ReadonlySet<number> = new Set(Object.values(reservationType));

/** Whether all who are registered hold a reservation of this type. */
export const isHeldByAll = (type: number): boolean =>
  type === reservationType.writeExclusiveAll || type === reservationType.exclusiveAccessAll;

/** Whether those who are registered, and do not hold it, may do as the holder does. */
export const isForRegistrants = (type: number): boolean => type >= reservationType.writeExclusiveRegistrants;

/** Whether others may read. */
export const letsOthersRead = (type: number): boolean =>
  type === reservationType.writeExclusive ||
  type === reservationType.writeExclusiveRegistrants ||
  type === reservationType.writeExclusiveAll;

/** Most registrations of one logical unit. */
export const maxRegistrations = 256;

/** An I_T nexus by its names: an initiator port and a target (SAM-5, 4.7). It may be gone, and come back. */
export interface NexusName {
  /** See `initiatorPortName`. */
  readonly initiatorPort: string;
  readonly targetName: string;
}

/** A nexus that is registered, with its reservation key. */
export interface Registration extends NexusName {
  readonly key: bigint;
}

/** The persistent reservations of one logical unit at one moment (SPC-4, 5.13). Never changed, only replaced. */
export interface ReservationState {
  /** PRgeneration, 32 bits. */
  readonly generation: number;
  /** Whether the rest outlives a loss of power, as the last registration asked (APTPL). */
  readonly persists: boolean;
  /** By {@link nexusId}. */
  readonly registrations: ReadonlyMap<string, Registration>;
  /** `holder` is a nexus id, `null` where all who are registered hold it. */
  readonly reservation: { readonly type: number; readonly holder: string | null } | null;
}

/** A logical unit that nobody has registered with. */
export const noReservations: ReservationState = { generation: 0, persists: false, registrations: new Map(), reservation: null };

/** Key of a nexus in maps. No name has a space. */
export const nexusId = ({ initiatorPort, targetName }: NexusName): string => `${initiatorPort} ${targetName}`;

/** Whether the nexus holds the reservation. */
export function holds({ reservation, registrations }: ReservationState, id: string): boolean {
  if (reservation === null) return false;
  return isHeldByAll(reservation.type) ? registrations.has(id) : reservation.holder === id;
}

/** What a PERSISTENT RESERVE OUT asks for. */
export interface ReservationRequest {
  readonly nexus: NexusName;
  /** RESERVATION KEY. */
  readonly key: bigint;
  /** SERVICE ACTION RESERVATION KEY. */
  readonly actionKey: bigint;
  readonly type: number;
  /** Logical unit scope is the only one there is. */
  readonly scope: number;
  /** APTPL. */
  readonly persists: boolean;
  /** Targets to register with: all of the logical unit with ALL_TG_PT, else that of the nexus. */
  readonly targetNames: readonly string[];
  /** Initiator ports to register besides that of the nexus (SPEC_I_PT). */
  readonly initiatorPorts: readonly string[];
  /** REGISTER AND MOVE: the nexus that gets the reservation. */
  readonly destination: NexusName | null;
  /** REGISTER AND MOVE: whether the sender loses its registration. */
  readonly unregister: boolean;
}

/** What a service action leads to. */
export type ReservationOutcome =
  | { readonly kind: 'conflict' }
  | { readonly kind: 'refused'; readonly sense: Sense }
  | {
      readonly kind: 'done';
      readonly state: ReservationState;
      /** Unit attention conditions to establish, by nexus id. */
      readonly attentions: ReadonlyMap<string, Sense>;
      /** Nexuses whose commands PREEMPT AND ABORT ends. */
      readonly preempted: ReadonlySet<string>;
    };

/** A service action of PERSISTENT RESERVE OUT (SPC-4, 6.16.2). */
export type ReservationAction = (state: ReservationState, request: ReservationRequest) => ReservationOutcome;

const conflict: ReservationOutcome = { kind: 'conflict' };
const refused = (sense: Sense): ReservationOutcome => ({ kind: 'refused', sense });
const nobody: ReadonlySet<string> = new Set();

const done = (
  state: ReservationState,
  attentions: ReadonlyMap<string, Sense> = new Map(),
  preempted: ReadonlySet<string> = nobody,
): ReservationOutcome => ({ kind: 'done', state, attentions, preempted });

const advanced = (state: ReservationState, changes: Partial<ReservationState>): ReservationState => ({
  ...state,
  ...changes,
  generation: (state.generation + 1) >>> 0,
});

/** The same condition for all of `ids` but `except`. */
const tell = (ids: Iterable<string>, except: string, sense: Sense): Map<string, Sense> => {
  const told = new Map<string, Sense>();
  for (const id of ids) if (id !== except) told.set(id, sense);
  return told;
};

/** Whether the nexus is registered with the key that it gives. */
const isRegistered = (state: ReservationState, { nexus, key }: ReservationRequest): boolean =>
  state.registrations.get(nexusId(nexus))?.key === key;

/**
 * Takes nexuses out, and the reservation with its last holder (SPC-4, 5.13.11.3). Gives who is to hear of a released
 * reservation, which are all that remain where it was one for those who are registered.
 */
function withoutNexuses(
  state: ReservationState,
  gone: ReadonlySet<string>,
): Pick<ReservationState, 'registrations' | 'reservation'> & { readonly released: readonly string[] } {
  const registrations = new Map([...state.registrations].filter(([id]) => !gone.has(id)));
  const { reservation } = state;
  if (reservation === null) return { registrations, reservation, released: [] };
  const ends = reservation.holder === null ? registrations.size === 0 : gone.has(reservation.holder);
  if (!ends) return { registrations, reservation, released: [] };
  return { registrations, reservation: null, released: isForRegistrants(reservation.type) ? [...registrations.keys()] : [] };
}

const registerWith =
  (ignoresKey: boolean): ReservationAction =>
  (state, request) => {
    const { nexus, key, actionKey, persists, targetNames, initiatorPorts } = request;
    const own = nexusId(nexus);
    if (!ignoresKey && (state.registrations.get(own)?.key ?? 0n) !== key) return conflict;
    const known = state.registrations.has(own);
    // Others are registered along with oneself only (SPC-4, 6.16.3).
    if (initiatorPorts.length > 0 && (known || ignoresKey)) return refused(senseOf.invalidFieldInParameterList);
    const names = [nexus.initiatorPort, ...initiatorPorts].flatMap((initiatorPort) =>
      targetNames.map((targetName) => ({ initiatorPort, targetName })),
    );
    if (actionKey === 0n) {
      if (!known) return done(state);
      const { registrations, reservation, released } = withoutNexuses(state, new Set(names.map(nexusId)));
      return done(advanced(state, { registrations, reservation, persists }), tell(released, own, senseOf.reservationsReleased));
    }
    const registrations = new Map(state.registrations);
    for (const name of names) registrations.set(nexusId(name), { ...name, key: actionKey });
    if (registrations.size > maxRegistrations) return refused(senseOf.insufficientRegistrationResources);
    return done(advanced(state, { registrations, persists }));
  };

const validType = ({ scope, type }: ReservationRequest): boolean => scope === 0 && knownTypes.has(type);

const reserve: ReservationAction = (state, request) => {
  if (!isRegistered(state, request)) return conflict;
  if (!validType(request)) return refused(senseOf.invalidFieldInCdb);
  const id = nexusId(request.nexus);
  const { type } = request;
  if (state.reservation === null) {
    return done({ ...state, reservation: { type, holder: isHeldByAll(type) ? null : id } });
  }
  return holds(state, id) && state.reservation.type === type ? done(state) : conflict;
};

const release: ReservationAction = (state, request) => {
  if (!isRegistered(state, request)) return conflict;
  const id = nexusId(request.nexus);
  if (state.reservation === null || !holds(state, id)) return done(state);
  const { type } = state.reservation;
  if (request.scope !== 0 || request.type !== type) return refused(senseOf.invalidRelease);
  const told = isForRegistrants(type) ? tell(state.registrations.keys(), id, senseOf.reservationsReleased) : undefined;
  return done({ ...state, reservation: null }, told);
};

const clear: ReservationAction = (state, request) => {
  if (!isRegistered(state, request)) return conflict;
  return done(
    advanced(state, { registrations: new Map(), reservation: null }),
    tell(state.registrations.keys(), nexusId(request.nexus), senseOf.reservationsPreempted),
  );
};

/** PREEMPT and PREEMPT AND ABORT (SPC-4, 5.13.11.4). */
const preempt: ReservationAction = (state, request) => {
  if (!isRegistered(state, request)) return conflict;
  const own = nexusId(request.nexus);
  const { actionKey, type } = request;
  const { reservation } = state;
  const heldByAll = reservation !== null && isHeldByAll(reservation.type);
  const holderKey = reservation?.holder != null ? state.registrations.get(reservation.holder)?.key : undefined;
  if (actionKey === 0n && !heldByAll) return refused(senseOf.invalidFieldInParameterList);
  const meant = [...state.registrations].filter(([, { key }]) => actionKey === 0n || key === actionKey).map(([id]) => id);
  if (meant.length === 0) return conflict;
  const takesOver = heldByAll ? actionKey === 0n : holderKey === actionKey;
  if (!takesOver) {
    // Registrations alone go, one's own too where it has the key.
    const gone = new Set(meant);
    const { registrations, reservation: left, released } = withoutNexuses(state, gone);
    return done(
      advanced(state, { registrations, reservation: left }),
      new Map([...tell(released, own, senseOf.reservationsReleased), ...tell(gone, own, senseOf.registrationsPreempted)]),
      gone,
    );
  }
  if (!validType(request)) return refused(senseOf.invalidFieldInCdb);
  const gone = new Set(meant.filter((id) => id !== own));
  const registrations = new Map([...state.registrations].filter(([id]) => !gone.has(id)));
  const changed = reservation?.type !== type;
  return done(
    advanced(state, { registrations, reservation: { type, holder: isHeldByAll(type) ? null : own } }),
    new Map([
      ...(changed ? tell(registrations.keys(), own, senseOf.reservationsReleased) : []),
      ...tell(gone, own, senseOf.registrationsPreempted),
    ]),
    new Set(meant),
  );
};

/** REGISTER AND MOVE (SPC-4, 5.13.8). */
const registerAndMove: ReservationAction = (state, request) => {
  if (!isRegistered(state, request)) return conflict;
  const { destination, actionKey, persists, unregister } = request;
  const own = nexusId(request.nexus);
  const { reservation } = state;
  if (reservation === null) return refused(senseOf.invalidFieldInCdb);
  if (isHeldByAll(reservation.type) || reservation.holder !== own) return conflict;
  if (destination === null || actionKey === 0n) return refused(senseOf.invalidFieldInParameterList);
  const id = nexusId(destination);
  if (id === own) return refused(senseOf.invalidFieldInParameterList);
  const registrations = new Map(state.registrations);
  registrations.set(id, { ...destination, key: actionKey });
  if (unregister) registrations.delete(own);
  if (registrations.size > maxRegistrations) return refused(senseOf.insufficientRegistrationResources);
  return done(advanced(state, { registrations, persists, reservation: { type: reservation.type, holder: id } }));
};

/** The service actions of PERSISTENT RESERVE OUT by their codes. */
export const reservationActions = {
  register: registerWith(false),
  reserve,
  release,
  clear,
  preempt,
  registerIgnoringKey: registerWith(true),
  registerAndMove,
} as const satisfies Record<string, ReservationAction>;

/** Removes what was registered with a target that is gone for good, as if each had ended its registration itself. */
export function withoutTarget(state: ReservationState, targetName: string): ReservationOutcome {
  const gone = new Set([...state.registrations].filter(([, known]) => known.targetName === targetName).map(([id]) => id));
  if (gone.size === 0) return done(state);
  const { registrations, reservation, released } = withoutNexuses(state, gone);
  return done(advanced(state, { registrations, reservation }), tell(released, '', senseOf.reservationsReleased));
}
