/** The real command line, started as a user starts it. */

import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Environment, type Finished, run } from './programs.ts';

const PROGRAM = resolve(import.meta.dirname, '../../../scripts/bundle');
export const KEY_PASSWORD = 'interop only';

export type Outcome = Readonly<{
  code: number | null;
  stdout: string;
  stderr: string;
  /** The document of `--json`. Throws when there is none. */
  json(): Record<string, unknown>;
}>;

export type Bundle = (args: readonly string[], env?: Environment) => Promise<Outcome>;

/** A command line that works in `directory`, which is its home too. */
export async function createBundle(directory: string): Promise<Bundle> {
  await mkdir(directory, { recursive: true });
  return async (args, env = {}) => {
    const own = { HOME: directory, BUNDLE_KEY_PASSWORD: KEY_PASSWORD, NO_COLOR: '1', ...env };
    return outcomeOf(await run(PROGRAM, args, { cwd: directory, env: own, timeoutMs: 120_000 }));
  };
}

export const bundleProgram = PROGRAM;

function outcomeOf({ code, stdout, stderr }: Finished): Outcome {
  const text = stdout.toString('utf8');
  return { code, stdout: text, stderr, json: () => JSON.parse(text) as Record<string, unknown> };
}

export type ImageLine = string | Readonly<{ ref: string; platforms?: readonly string[]; aliases?: readonly string[] }>;

/** Writes `manifests/<name>.yaml` below `directory`. */
export async function writeManifest(directory: string, name: string, images: readonly ImageLine[]): Promise<void> {
  await mkdir(join(directory, 'manifests'), { recursive: true });
  const lines = ['apiVersion: bundle/v1', `name: ${name}`, 'images:', ...images.map((image) => `  - ${JSON.stringify(image)}`)];
  await writeFile(join(directory, 'manifests', `${name}.yaml`), `${lines.join('\n')}\n`);
}
