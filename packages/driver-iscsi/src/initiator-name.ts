import { ScoriaError } from '@scoria/core';

/** RFC 7143, 4.2.7. It also becomes the name of a directory, and a word on a command line. */
const form = /^(iqn\.|eui\.|naa\.)[A-Za-z0-9.:_-]{1,219}$/;

/** The iSCSI name of an initiator as it was given; `invalid-input` when it is none. */
export function checkedInitiatorName(name: string): string {
  if (form.test(name)) return name;
  throw new ScoriaError('invalid-input', `'${name.slice(0, 223)}' is no iSCSI name of an initiator`);
}
