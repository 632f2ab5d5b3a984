/** One target's folder: the executable, the libraries beside it, the licences. */

import { execFileSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { endOfLoaded, readElf } from './elf.ts';
import { checkFloor, type Needs } from './floor.ts';
import { fetchLibraries, LIBRARIES } from './libraries.ts';
import { collectLicenses } from './licenses.ts';
import { nodeFolder } from './node-binary.ts';
import { setRunPath, withoutDebugSymbols } from './run-path.ts';
import { distFolder, GLIBC_FLOOR, RUN_PATH, root, type Target, workFolder } from './targets.ts';

export type Executable = Readonly<{ folder: string; needs: Needs; libraries: Readonly<Record<string, string>> }>;

/** Node with the RUNPATH and without debug symbols; done before the module is put in, which then is the last thing in the file. */
function writeBase(target: Target, node: string): string {
  const bytes = readFileSync(join(node, 'bin/node'));
  setRunPath(bytes, RUN_PATH);
  const base = join(workFolder, `node-base-${target.name}`);
  writeFileSync(base, withoutDebugSymbols(bytes, endOfLoaded(readElf(bytes))));
  chmodSync(base, 0o755);
  return base;
}

function putIn(main: string, base: string, output: string, target: Target): void {
  const config = join(workFolder, `sea-${target.name}.json`);
  const settings = {
    main,
    mainFormat: 'module',
    executable: base,
    output,
    disableExperimentalSEAWarning: true,
    // V8's compiled form of the module halves the start; only the Node that will read it can make it, so not one for another machine.
    useCodeCache: target.name === process.arch,
    // What a shell has in NODE_OPTIONS is for somebody's own programs.
    execArgvExtension: 'none',
    // As scripts/bundle: what starting makes dies young.
    execArgv: ['--min-semi-space-size=4', '--max-semi-space-size=4'],
  };
  writeFileSync(config, JSON.stringify(settings));
  // With a fixed seed the compiled form is the same bytes in every build.
  execFileSync(process.execPath, ['--random-seed=1', '--build-sea', config], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/** Builds `dist/bundle-linux-<arch>/` from the one module `main`. Throws when the result would not start on a bare system. */
export function buildExecutable(target: Target, main: string, packages: readonly string[]): Executable {
  const node = nodeFolder(target);
  const libraries = fetchLibraries(target);
  const folder = join(distFolder, `bundle-linux-${target.name}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'lib'), { recursive: true });
  const output = join(folder, 'bundle');
  putIn(main, writeBase(target, node), output, target);
  chmodSync(output, 0o755);
  for (const name of LIBRARIES) copyFileSync(join(libraries.folder, name), join(folder, 'lib', name));
  copyFileSync(join(root, 'scripts/systemd/bundle-registry.service'), join(folder, 'bundle-registry.service'));
  writeFileSync(join(folder, 'LICENSES.txt'), collectLicenses(join(root, 'LICENSE'), node, libraries.license, packages));
  const needs = checkFloor([output, ...LIBRARIES.map((name) => join(folder, 'lib', name))], GLIBC_FLOOR);
  return { folder, needs, libraries: libraries.versions };
}
