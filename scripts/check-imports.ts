/** Imports under src/ point one way: a folder may import only itself and folders of a lower rank (docs/design.md, "Shape of the code"). */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

/** Folders of one line may not import one another. */
const RANKS: readonly (readonly string[])[] = [
  ['core'],
  ['files'],
  ['sign'],
  ['registry', 'manifest', 'serve', 'cosign'],
  ['upstream'],
  ['lock'],
  ['bundle'],
  ['k3s', 'policy'],
  ['pull', 'load'],
  ['cli'],
  ['main.ts'],
];

export function importFaults(root: string): string[] {
  const rankOf = new Map(RANKS.flatMap((names, rank) => names.map((name) => [name, rank] as const)));
  const faults: string[] = [];
  for (const entry of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    if (!entry.endsWith('.ts')) continue;
    const folder = entry.split('/')[0] as string;
    const rank = rankOf.get(folder);
    if (rank === undefined) {
      faults.push(`src/${entry}: the folder ${folder} has no rank in scripts/check-imports.ts`);
      continue;
    }
    const text = readFileSync(join(root, entry), 'utf8');
    for (const [, from] of text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
      const target = relative(root, resolve(dirname(join(root, entry)), from as string));
      const targetFolder = target.split('/')[0] as string;
      if (target.startsWith('..')) {
        if (!target.endsWith('package.json')) faults.push(`src/${entry}: imports ${from}, outside src/`);
      } else if (targetFolder !== folder && (rankOf.get(targetFolder) ?? Number.POSITIVE_INFINITY) >= rank) {
        faults.push(`src/${entry}: ${folder} may not import ${targetFolder}`);
      }
    }
  }
  return faults;
}

if (import.meta.main) {
  const faults = importFaults(resolve(import.meta.dirname, '../src'));
  for (const fault of faults) console.error(fault);
  process.exitCode = faults.length === 0 ? 0 : 1;
}
