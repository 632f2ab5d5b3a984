/** Builds a Go recipe from the module proxy that the machine is set up for. */

import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { GoRecipe } from './recipes.ts';

const run = promisify(execFile);
const LIMIT = { timeout: 15 * 60_000, maxBuffer: 16 << 20 };

async function go(args: readonly string[], cwd: string, environment: NodeJS.ProcessEnv = {}): Promise<void> {
  const env = { ...process.env, CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOFLAGS: '-trimpath -buildvcs=false', ...environment };
  try {
    await run('go', [...args], { ...LIMIT, cwd, env });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT')
      throw new Error('no `go` on the PATH: install Go 1.26 or newer', { cause });
    const said = (cause as { stderr?: string }).stderr?.trim().split('\n').slice(-6).join('\n  ') ?? '';
    throw new Error(`go ${args.join(' ')} failed:\n  ${said}`, { cause });
  }
}

async function installDirectly(recipe: GoRecipe, folder: string): Promise<void> {
  await go(['install', `${recipe.package}@${recipe.version}`], tmpdir(), { GOBIN: folder });
}

async function installByScratchModule(recipe: GoRecipe, folder: string): Promise<void> {
  const scratch = join(folder, 'scratch');
  mkdirSync(scratch);
  writeFileSync(join(scratch, 'go.mod'), 'module scratch\n');
  await go(['get', `${recipe.module}@${recipe.version}`], scratch);
  await go(['build', '-mod=mod', '-o', folder, recipe.package], scratch);
  rmSync(scratch, { recursive: true });
}

/** Leaves one static program named after the recipe in `folder`; gives its version. Throws with the compiler's last words. */
export async function buildGo(recipe: GoRecipe, folder: string): Promise<string> {
  await (recipe.viaScratchModule ? installByScratchModule : installDirectly)(recipe, folder);
  const built = recipe.package.split('/').at(-1) as string;
  if (built !== recipe.name) await run('mv', [join(folder, built), join(folder, recipe.name)]);
  return recipe.version;
}
