import { ScoriaError } from '@scoria/core';

/** RFC 7143, 4.2.7. */
const form = /^(iqn\.|eui\.|naa\.)[A-Za-z0-9.:_-]{1,219}$/;

/** Whether a text is the iSCSI name of a node, and so can be the name of a directory and a word on a command line. */
export const isIscsiName = (text: string): boolean => form.test(text);

/** The iSCSI name of an initiator as it was given; `invalid-input` when it is none. */
export function checkedInitiatorName(name: string): string {
  if (isIscsiName(name)) return name;
  throw new ScoriaError('invalid-input', `'${name.slice(0, 223)}' is no iSCSI name of an initiator`);
}
