/** The iSCSI name of an access's target (RFC 7143, 4.2.7), lower case. */
export const targetName = (iqnPrefix: string, accessId: string): string => `${iqnPrefix}:${accessId}`.toLowerCase();
