/** `npm run build:exe [-- x64 arm64]`: what node-1 runs, for linux x64 and arm64, built on either. See docs/design.md, "The executable". */

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { writeArchive } from './exe/archive.ts';
import { bundleSource } from './exe/bundle-source.ts';
import { buildExecutable } from './exe/executable.ts';
import { distFolder, root, TARGETS, type Target, workFolder } from './exe/targets.ts';

function wanted(names: readonly string[]): readonly Target[] {
  const unknown = names.filter((name) => !TARGETS.some((each) => each.name === name));
  if (unknown.length > 0)
    throw new Error(`no target ${unknown.join(', ')}: there are ${TARGETS.map((each) => each.name).join(', ')}`);
  return names.length === 0 ? TARGETS : TARGETS.filter((each) => names.includes(each.name));
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

async function main(names: readonly string[]): Promise<void> {
  if (process.platform !== 'linux') throw new Error('executables are built on Linux: the libraries come from Debian packages');
  const targets = wanted(names);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  mkdirSync(workFolder, { recursive: true });
  mkdirSync(distFolder, { recursive: true });
  const module = join(workFolder, 'bundle.mjs');
  const { packages } = await bundleSource(root, module);
  const archives = await Promise.all(
    targets.map(async (target) => {
      const { folder, needs, libraries } = buildExecutable(target, module, packages);
      const archive = join(distFolder, `bundle-${version}-linux-${target.name}.tar.gz`);
      await writeArchive(folder, archive);
      const came = Object.entries(libraries).map(([name, each]) => `${name} ${each}`);
      console.log(`${basename(folder)}: needs glibc ${needs.glibc} or newer, nothing else; brings ${came.join(', ')}`);
      return archive;
    }),
  );
  const sums = archives.map((file) => `${createHash('sha256').update(readFileSync(file)).digest('hex')}  ${basename(file)}\n`);
  writeFileSync(join(distFolder, 'SHA256SUMS'), sums.join(''));
  for (const file of archives) console.log(`dist/${basename(file)}  ${megabytes(readFileSync(file).length)}`);
}

await main(process.argv.slice(2)).catch((error: Error) => {
  console.error(`build:exe: ${error.message}`);
  process.exitCode = 1;
});
