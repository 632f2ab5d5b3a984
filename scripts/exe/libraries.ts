/**
 * The libraries that npm's Node needs and a bare server lacks. They come from Debian 11: later ones ask for a newer C library than
 * Node itself does (libstdc++ of Debian 12 wants glibc 2.36), these for 2.18 at most.
 */

import { copyFileSync, existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openSuite, tripletOf } from '../debian/suite.ts';
import { type Target, workFolder } from './targets.ts';

const SUITE = 'bullseye';
const PACKAGES = ['libatomic1', 'libgcc-s1', 'libstdc++6', 'gcc-10-base'];
export const LIBRARIES = ['libatomic.so.1', 'libgcc_s.so.1', 'libstdc++.so.6'];

export type Libraries = Readonly<{ folder: string; versions: Readonly<Record<string, string>>; license: string }>;

function findLibrary(unpacked: string, target: Target, name: string): string {
  const places = ['usr/lib', 'lib'].map((each) => join(unpacked, each, tripletOf(target.debian), name));
  const found = places.find((each) => existsSync(each));
  if (!found) throw new Error(`${name} is not in Debian's ${PACKAGES.join(', ')} (${SUITE}, ${target.debian})`);
  return realpathSync(found);
}

function fill(folder: string, target: Target): void {
  const unpacked = join(folder, 'unpacked');
  const suite = openSuite(SUITE, join(workFolder, '../apt', `${SUITE}-${target.debian}`), [target.debian]);
  const versions = suite.unpack(
    PACKAGES.map((each) => `${each}:${target.debian}`),
    unpacked,
  );
  for (const name of LIBRARIES) copyFileSync(findLibrary(unpacked, target, name), join(folder, name));
  copyFileSync(join(unpacked, 'usr/share/doc/gcc-10-base/copyright'), join(folder, 'copyright'));
  writeFileSync(join(folder, 'versions.json'), `${JSON.stringify(versions)}\n`);
  rmSync(unpacked, { recursive: true });
}

/** Fetches them once into the ignored folder. Throws when the mirror that the machine names no longer has the suite. */
export function fetchLibraries(target: Target): Libraries {
  const folder = join(workFolder, `libraries-${target.name}`);
  if (!existsSync(folder)) {
    const staging = `${folder}.part`;
    rmSync(staging, { recursive: true, force: true });
    mkdirSync(staging, { recursive: true });
    fill(staging, target);
    renameSync(staging, folder);
  }
  const versions = JSON.parse(readFileSync(join(folder, 'versions.json'), 'utf8')) as Record<string, string>;
  return { folder, versions, license: readFileSync(join(folder, 'copyright'), 'utf8') };
}
