/** Everything that runs, as one ES module without a single import. */

import { join } from 'node:path';
import { build } from 'esbuild';
import { absentPackages, lazyBuiltins, onlyDispatchers, plainWidth } from './source-plugins.ts';

export type Bundled = Readonly<{
  /** Folders of the packages whose code is in the module, sorted. */
  packages: readonly string[];
}>;

/** For a `require` that esbuild cannot resolve beforehand: it knows Node's own modules, so no file beside the executable is ever run. */
const REQUIRE = `const require = (name) => {
  const found = process.getBuiltinModule(name);
  if (found) return found;
  throw Object.assign(new Error('no module ' + name + ' in this executable'), { code: 'MODULE_NOT_FOUND' });
};`;

const packageOf = (input: string): string | undefined => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];

/**
 * Writes the module to `outfile` (absolute). Dynamic imports become parts of it that run when first used. Names stay as they are, for
 * stack traces. Throws when something would be loaded from a file at run time.
 */
export async function bundleSource(root: string, outfile: string): Promise<Bundled> {
  const { metafile, warnings } = await build({
    absWorkingDir: root,
    entryPoints: ['src/main.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node26',
    banner: { js: REQUIRE },
    mainFields: ['module', 'main'],
    plugins: [absentPackages, plainWidth, onlyDispatchers, lazyBuiltins],
    minifyWhitespace: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  if (warnings.length > 0) throw new Error(`esbuild warns ${warnings.length} times: a single executable can't rely on luck`);
  const left = Object.values(metafile.outputs).flatMap((output) => output.imports);
  if (left.length > 0) throw new Error(`not bundled: ${left.map((each) => each.path).join(', ')}`);
  const packages = Object.keys(metafile.inputs).flatMap((input) => packageOf(input) ?? []);
  return { packages: [...new Set(packages)].sort().map((each) => join(root, each)) };
}
