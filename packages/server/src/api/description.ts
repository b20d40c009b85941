import { openApiDocument } from '../http/openapi.ts';
import { blockStorageRoutes, scoriaRoutes } from './routes.ts';

/** The API description that is kept in `openapi.json` and served. Paths without the project are understood too and not repeated in it. */
export function apiDescription(): Record<string, unknown> {
  return openApiDocument(
    [
      { prefix: '/v3/{project_id}', routes: blockStorageRoutes },
      { prefix: '/scoria/v1', routes: scoriaRoutes },
    ],
    '0.1.0',
  );
}
