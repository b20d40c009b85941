/** Who has to act on an error: the caller of the API, the storage behind a driver, whoever configures the service, or its authors. */
export type Fault = 'caller' | 'backend' | 'operator' | 'bug';

/** What is fixed for every error of one code. */
export interface ErrorDefinition {
  readonly fault: Fault;
  /** Whether the same request may succeed later with nothing else changed. */
  readonly retryable: boolean;
  /** What the one at fault should do, one sentence. */
  readonly remedy: string;
}

const define = <T extends Record<string, ErrorDefinition>>(codes: T): T => codes;

/**
 * Every error that Scoria raises, by its stable code. Codes are never renamed or reused: clients, tests and the
 * reference in `docs/errors.md` rely on them.
 */
export const errorCodes = define({
  // What a caller asked for cannot be done.
  'invalid-input': { fault: 'caller', retryable: false, remedy: 'Correct the request and send it again.' },
  'not-found': { fault: 'caller', retryable: false, remedy: 'Check the id and the project.' },
  'invalid-state': {
    fault: 'caller',
    retryable: true,
    remedy: 'Wait until the resource has left its present state, or act on that state first.',
  },
  conflict: {
    fault: 'caller',
    retryable: false,
    remedy: 'Look at what stands in the way, named in the message, and remove it first.',
  },
  'idempotency-mismatch': {
    fault: 'caller',
    retryable: false,
    remedy: 'Send every new request with a key of its own; a key is used again only to repeat the same request.',
  },
  'not-permitted': { fault: 'caller', retryable: false, remedy: 'Ask someone with the needed role.' },
  'not-authenticated': { fault: 'caller', retryable: false, remedy: 'Get a new token and send the request again.' },
  'quota-exceeded': { fault: 'caller', retryable: true, remedy: 'Delete what is no longer used or ask for a larger quota.' },
  'not-supported': { fault: 'caller', retryable: false, remedy: 'Choose a volume type whose backend can do this.' },
  cancelled: { fault: 'caller', retryable: true, remedy: 'Nothing: the work was stopped because somebody asked for it.' },

  // The storage behind a driver or transport failed.
  'no-valid-backend': {
    fault: 'operator',
    retryable: true,
    remedy: 'Read the reason of each pool, then free space, add a backend, or change the volume type.',
  },
  'backend-unavailable': { fault: 'backend', retryable: true, remedy: 'Bring the backend back; the work goes on by itself.' },
  'backend-failed': { fault: 'backend', retryable: true, remedy: "Look at the backend's own log for the cause given here." },
  'backend-object-missing': {
    fault: 'backend',
    retryable: false,
    remedy: 'Find out who removed the object from the backend; restore it or delete the resource.',
  },
  'backend-busy': {
    fault: 'backend',
    retryable: true,
    remedy: 'End the use of the object on the backend that the message names.',
  },
  'transport-failed': { fault: 'backend', retryable: true, remedy: 'Look at the log of the target that the message names.' },
  'writes-not-held': { fault: 'backend', retryable: true, remedy: 'Nothing: the snapshot is taken again.' },

  // A block device refused I/O; sense data follow from these.
  'device-no-space': { fault: 'backend', retryable: true, remedy: 'Free space in the pool that holds the volume.' },
  'device-medium-error': {
    fault: 'backend',
    retryable: false,
    remedy: 'Restore the volume from a backup; its storage is damaged.',
  },
  'device-gone': { fault: 'backend', retryable: true, remedy: 'Find out why the device behind the volume went away.' },
  'device-not-permitted': { fault: 'caller', retryable: false, remedy: 'Open the device for writing, or do not write to it.' },
  'device-out-of-range': {
    fault: 'caller',
    retryable: false,
    remedy: 'Stay within the size of the device and on its block boundaries.',
  },

  // Whoever runs the service has to act.
  'invalid-configuration': { fault: 'operator', retryable: false, remedy: 'Correct the configuration at the places named.' },
  'plugin-refused': {
    fault: 'operator',
    retryable: false,
    remedy: 'Install a version of the plug-in that fits this version of Scoria.',
  },
  'data-directory-newer': {
    fault: 'operator',
    retryable: false,
    remedy: 'Start the version of Scoria that wrote this data, or a later one; or name another data directory.',
  },
  'data-directory-locked': {
    fault: 'operator',
    retryable: false,
    remedy: 'Stop the other instance, or give this one a data directory of its own.',
  },
  'foreign-backend': {
    fault: 'operator',
    retryable: false,
    remedy: 'Point the backend at storage of this installation; if the other installation is gone for good, remove its marker.',
  },
  'address-in-use': { fault: 'operator', retryable: false, remedy: 'Stop what listens there or choose another address.' },
  'insecure-listen': { fault: 'operator', retryable: false, remedy: 'Configure TLS, or listen on loopback only.' },

  'store-failed': {
    fault: 'operator',
    retryable: true,
    remedy: 'Look at the disk that holds the data directory; the work goes on by itself when it is well again.',
  },

  // The operation machinery.
  'deadline-exceeded': {
    fault: 'backend',
    retryable: true,
    remedy: 'Find out what is slow; the work goes on or is undone by itself.',
  },
  'lease-lost': { fault: 'bug', retryable: true, remedy: 'Nothing: another worker has taken the work over.' },
  'stale-fence': { fault: 'bug', retryable: false, remedy: 'Nothing: a worker that lost its lease was stopped from acting.' },
  internal: { fault: 'bug', retryable: false, remedy: 'Report it with the request id and the log around it.' },
});

/** The stable code of an error. */
export type ErrorCode = keyof typeof errorCodes;
