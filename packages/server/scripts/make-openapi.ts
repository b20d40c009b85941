import { writeFile } from 'node:fs/promises';
import { apiDescription } from '../src/api/description.ts';

// Run from anywhere after a change of a route: node --conditions=@scoria/source packages/server/scripts/make-openapi.ts
await writeFile(new URL('../openapi.json', import.meta.url), `${JSON.stringify(apiDescription(), null, 1)}\n`);
