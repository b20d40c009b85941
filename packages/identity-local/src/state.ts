import { z } from 'zod';
import { passwordHashSchema } from './password.ts';

const id = z.string().min(1).max(64);

/** Schema of the whole file. */
export const stateSchema = z.strictObject({
  version: z.literal(1),
  /** Key of the tokens, 32 bytes. */
  signingKey: z.base64().max(128),
  users: z.array(
    z.strictObject({
      id,
      name: z.string(),
      description: z.string(),
      email: z.string().nullable(),
      enabled: z.boolean(),
      defaultProjectId: id.nullable(),
      password: passwordHashSchema.nullable(),
      /** Tokens issued before are void. Milliseconds since 1970 UTC. */
      passwordChangedAt: z.number(),
    }),
  ),
  projects: z.array(z.strictObject({ id, name: z.string(), description: z.string(), enabled: z.boolean() })),
  roles: z.array(z.strictObject({ id, name: z.string() })),
  assignments: z.array(z.strictObject({ userId: id, projectId: id, roleId: id })),
});

/** Users, projects and roles of one machine. */
export type IdentityState = z.infer<typeof stateSchema>;
/** A user. */
export type User = IdentityState['users'][number];
/** A project: the owner of volumes. */
export type Project = IdentityState['projects'][number];
/** A role. */
export type Role = IdentityState['roles'][number];

/** The one domain there is. */
export const defaultDomain = { id: 'default', name: 'Default' } as const;
