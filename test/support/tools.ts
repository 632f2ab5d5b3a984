/** Paths of the real programs that the interoperation tests run. */

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Shared by `scripts/interop`: `BUNDLE_TOOLS_DIR` names another folder, so that clones can share one. */
const folder = resolve(process.env.BUNDLE_TOOLS_DIR ?? join(import.meta.dirname, '../../.cache/tools'));

function find(kind: 'bin' | 'roots', name: string): string {
  const path = join(folder, kind, name);
  if (existsSync(path)) return path;
  throw new Error(`the program ${name} is not in ${join(folder, kind)}: run scripts/interop/install.sh`);
}

/** The path of a program (`crane`, `registry-3`, `ctr`, …). Throws when it is not installed. */
export const tool = (name: string): string => find('bin', name);

/** For those that `install.sh` brings only when they are named. */
export const isInstalled = (name: string): boolean => existsSync(join(folder, 'bin', name));

/** The path of an unpacked root of files (`arm64-cross`, `libc6-11`, `libc6-12`). Throws when it is not installed. */
export const toolRoot = (name: string): string => find('roots', name);
