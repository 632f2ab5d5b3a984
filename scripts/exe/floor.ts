/** What a built folder asks of the system that it is carried to. */

import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { neededBy, readElf, versionsNeededBy } from './elf.ts';

/** Libraries of the C library's own package: these the system has. */
const SYSTEM = /^(libc\.so\.6|libm\.so\.6|libdl\.so\.2|libpthread\.so\.0|librt\.so\.1|ld-linux-(x86-64\.so\.2|aarch64\.so\.1))$/;

const newer = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

export type Needs = Readonly<{
  /** The newest glibc symbol version asked for, as `2.28`. */
  glibc: string;
  /** Libraries that neither the C library's package nor `files` bring. */
  missing: readonly string[];
}>;

/** Reads what `files` (a program and the libraries beside it) need from their dynamic sections. */
export function needsOf(files: readonly string[]): Needs {
  const elves = files.map((file) => readElf(readFileSync(file)));
  const versions = elves.flatMap(versionsNeededBy).flatMap(({ version }) => /^GLIBC_([\d.]+)$/.exec(version)?.[1] ?? []);
  const beside = new Set(files.map((file) => basename(file)));
  const missing = elves.flatMap(neededBy).filter((name) => !SYSTEM.test(name) && !beside.has(name));
  return { glibc: versions.sort(newer).at(-1) ?? '0', missing: [...new Set(missing)] };
}

/** Throws when `files` need a newer C library than `floor`, or a library that nobody brings. */
export function checkFloor(files: readonly string[], floor: string): Needs {
  const needs = needsOf(files);
  if (newer(needs.glibc, floor) > 0) throw new Error(`the executable needs glibc ${needs.glibc}, promised is ${floor}`);
  if (needs.missing.length > 0) throw new Error(`the executable needs ${needs.missing.join(', ')}, which a bare system lacks`);
  return needs;
}
