/** The pinned Node of a target: npm installs only the machine's own, the other one is fetched and checked against the lock file. */

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, type Target, workFolder } from './targets.ts';

type Locked = Readonly<{ version: string; integrity: string }>;

function lockedPackage(name: string): Locked {
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Locked> };
  const entry = lock.packages[`node_modules/${name}`];
  if (!entry?.integrity) throw new Error(`package-lock.json has no integrity for ${name}`);
  return entry;
}

function checkIntegrity(file: string, wanted: string): void {
  const [algorithm = '', digest = ''] = wanted.split(/-(.*)/s);
  const got = createHash(algorithm).update(readFileSync(file)).digest('base64');
  if (got !== digest) throw new Error(`${file}: got ${algorithm}-${got}, package-lock.json wants ${wanted}`);
}

function fetchPackage(name: string, locked: Locked): string {
  const folder = join(workFolder, `${name}-${locked.version}`);
  if (existsSync(join(folder, 'bin/node'))) return folder;
  const staging = `${folder}.part`;
  rmSync(staging, { recursive: true, force: true });
  mkdirSync(staging, { recursive: true });
  const args = ['pack', `${name}@${locked.version}`, '--silent', '--pack-destination', staging];
  const file = execFileSync('npm', args, { encoding: 'utf8', cwd: root }).trim().split('\n').at(-1) as string;
  checkIntegrity(join(staging, file), locked.integrity);
  execFileSync('tar', [
    '-xzf',
    join(staging, file),
    '-C',
    staging,
    '--strip-components=1',
    'package/bin/node',
    'package/LICENSE',
  ]);
  rmSync(join(staging, file));
  rmSync(folder, { recursive: true, force: true });
  renameSync(staging, folder);
  return folder;
}

/** The folder that holds `bin/node` and `LICENSE` for `target`. Throws when the fetched bytes are not the locked ones. */
export function nodeFolder(target: Target): string {
  const installed = join(root, 'node_modules', target.package);
  return existsSync(join(installed, 'bin/node')) ? installed : fetchPackage(target.package, lockedPackage(target.package));
}
