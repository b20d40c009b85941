export type { IdentityCall, IdentityReply, IdentityRoute } from './identity-route.ts';
export { createLocalIdentity, type LocalIdentity, type LocalIdentityOptions } from './local-identity.ts';
export { openrc, passwordInOpenrc, type OpenrcValues } from './openrc.ts';
export type { PasswordCost } from './password.ts';
