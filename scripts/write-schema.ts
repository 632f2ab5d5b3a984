/** Writes schema/manifest.schema.json from the code's own schema; `--check` only says whether it is current. */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { prettyJson } from '../src/core/json.ts';
import { manifestJsonSchema } from '../src/manifest/schema.ts';

const path = resolve(import.meta.dirname, '../schema/manifest.schema.json');

/** undefined when the file is not there. */
function written(): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

if (import.meta.main) {
  const text = prettyJson(manifestJsonSchema());
  if (!process.argv.includes('--check')) writeFileSync(path, text);
  else if (written() !== text) {
    console.error('schema/manifest.schema.json is stale: run "npm run schema"');
    process.exitCode = 1;
  }
}
