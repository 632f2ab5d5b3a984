/** Where installed programs live: `.cache/tools/<recipe>/<version>/`, a stamp per recipe, links and wrappers in `bin/` and `roots/`. */

import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { LIBRARY_FOLDERS, type Program, type Recipe } from './recipes.ts';

export type Installed = Readonly<{ recipe: string; folder: string; version: string }>;

/** The project's ignored folder. `BUNDLE_TOOLS_DIR` names another, to share one among clones. */
export const cacheFolder = resolve(import.meta.dirname, '../../.cache');
export const toolsFolder = resolve(process.env.BUNDLE_TOOLS_DIR ?? join(cacheFolder, 'tools'));

const stampOf = (recipe: Recipe): string => join(toolsFolder, 'stamps', `${recipe.name}.json`);
const hashOf = (recipe: Recipe): string => createHash('sha256').update(JSON.stringify(recipe)).digest('hex').slice(0, 16);

/** What is there for exactly this recipe, or nothing. */
export function findInstalled(recipe: Recipe): Installed | undefined {
  if (!existsSync(stampOf(recipe))) return undefined;
  const stamp = JSON.parse(readFileSync(stampOf(recipe), 'utf8')) as Installed;
  return stamp.recipe === hashOf(recipe) && existsSync(join(toolsFolder, stamp.folder)) ? stamp : undefined;
}

/** Runs `fill` on a fresh folder and puts it in its place; `fill` gives the version. A broken run leaves nothing behind that counts. */
export async function install(recipe: Recipe, fill: (folder: string) => Promise<string> | string): Promise<Installed> {
  const staging = join(toolsFolder, 'staging', recipe.name);
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const version = await fill(staging);
  const folder = join(recipe.name, `${version.replaceAll(/[^\w.+~-]/g, '_')}-${hashOf(recipe).slice(0, 6)}`);
  const place = join(toolsFolder, folder);
  // Earlier versions go: nothing points at them any more.
  rmSync(join(toolsFolder, recipe.name), { recursive: true, force: true });
  mkdirSync(join(toolsFolder, recipe.name), { recursive: true });
  renameSync(staging, place);
  mkdirSync(join(toolsFolder, 'stamps'), { recursive: true });
  const installed = { recipe: hashOf(recipe), folder, version };
  writeFileSync(stampOf(recipe), `${JSON.stringify(installed, null, 2)}\n`);
  return installed;
}

function link(from: string, to: string): void {
  mkdirSync(join(from, '..'), { recursive: true });
  rmSync(from, { force: true });
  symlinkSync(relative(join(from, '..'), to), from);
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

function startLine(root: string, program: Program, libraries: 'with' | 'own-loader' | undefined): string {
  const path = quote(join(root, program.path));
  const folders = quote(LIBRARY_FOLDERS.map((each) => join(root, each)).join(':'));
  if (libraries !== 'own-loader') return path;
  const loader = process.arch === 'arm64' ? 'lib/ld-linux-aarch64.so.1' : 'lib64/ld-linux-x86-64.so.2';
  const found = [join(root, loader), join(root, 'usr', loader)].find((each) => existsSync(each));
  if (!found) throw new Error(`no loader ${loader} in ${root}`);
  return `${quote(found)} --library-path ${folders} ${path}`;
}

function wrap(name: string, root: string, program: Program, libraries: 'with' | 'own-loader' | undefined): void {
  const home = join(toolsFolder, 'home');
  const fill = (text: string): string => quote(text.replaceAll('@root@', root).replaceAll('@home@', home));
  const lines = ['#!/bin/sh', '# Written by scripts/interop/install.sh.'];
  for (const [key, value] of Object.entries(program.environment ?? {})) lines.push(`export ${key}=${fill(value)}`);
  if (libraries === 'with') {
    lines.push(`export LD_LIBRARY_PATH=${quote(LIBRARY_FOLDERS.map((each) => join(root, each)).join(':'))}`);
    lines.push(`export PATH=${quote(join(root, 'usr/bin'))}:"$PATH"`);
  }
  lines.push(`exec ${startLine(root, program, libraries)} ${(program.before ?? []).map(fill).join(' ')} "$@"`, '');
  const file = join(toolsFolder, 'bin', name);
  mkdirSync(join(file, '..'), { recursive: true });
  rmSync(file, { force: true });
  writeFileSync(file, lines.join('\n'));
  chmodSync(file, 0o755);
}

/** Makes `bin/<program>` and `roots/<name>` for an installed recipe. Throws when a promised program is not in its packages. */
export function expose(recipe: Recipe, installed: Installed): void {
  const root = join(toolsFolder, installed.folder);
  if (recipe.kind === 'go') {
    link(join(toolsFolder, 'bin', recipe.name), join(root, recipe.name));
    return;
  }
  for (const [name, program] of Object.entries(recipe.programs)) {
    if (!existsSync(join(root, program.path))) throw new Error(`${recipe.name} ${installed.version} has no ${program.path}`);
    const bare = !recipe.libraries && !program.before && !program.environment;
    if (bare) link(join(toolsFolder, 'bin', name), join(root, program.path));
    else wrap(name, root, program, recipe.libraries);
  }
  for (const [name, path] of Object.entries(recipe.roots ?? {})) link(join(toolsFolder, 'roots', name), join(root, path));
}

/** A home for podman, buildah and skopeo with settings that let them run in a test: any image, storage by copying. */
export function writeHome(): void {
  const home = join(toolsFolder, 'home');
  const containers = join(home, '.config/containers');
  mkdirSync(containers, { recursive: true });
  writeFileSync(join(containers, 'policy.json'), '{ "default": [{ "type": "insecureAcceptAnything" }] }\n');
  writeFileSync(join(home, 'registries.conf'), 'unqualified-search-registries = []\nshort-name-mode = "permissive"\n');
  const storage = [`driver = "vfs"`, `graphroot = "${join(home, 'storage')}"`, `runroot = "${join(home, 'run')}"`];
  writeFileSync(join(home, 'storage.conf'), ['[storage]', ...storage, ''].join('\n'));
}
