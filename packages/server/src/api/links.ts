import { z } from 'zod';
import type { CallBase } from '../http/route.ts';

/** Links as every resource of the API has them. */
export const linksSchema = z.array(z.object({ rel: z.string(), href: z.string() }));

/** Links to a resource; `path` is below the project, without a slash before it. */
export function resourceLinks(call: Pick<CallBase, 'endpoint'>, path: string): z.infer<typeof linksSchema> {
  return [
    { rel: 'self', href: `${call.endpoint}/${path}` },
    { rel: 'bookmark', href: `${call.endpoint.replace('/v3', '')}/${path}` },
  ];
}
