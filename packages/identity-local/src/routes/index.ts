import type { UnboundRoute } from '../identity-route.ts';
import { authenticationRoutes } from './authentication.ts';
import { projectRoutes } from './projects.ts';
import { roleRoutes } from './roles.ts';
import { userRoutes } from './users.ts';
import { versionRoutes } from './versions.ts';

/** Every route of the built-in Identity API. */
export const identityRoutes: readonly UnboundRoute[] = [
  ...versionRoutes,
  ...authenticationRoutes,
  ...projectRoutes,
  ...userRoutes,
  ...roleRoutes,
];
