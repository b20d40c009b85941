import { writeFile } from 'node:fs/promises';
import { apiDescription } from '../src/api/description.ts';

// After a change of a route: npm run docs:openapi
await writeFile(new URL('../openapi.json', import.meta.url), `${JSON.stringify(apiDescription(), null, 1)}\n`);
