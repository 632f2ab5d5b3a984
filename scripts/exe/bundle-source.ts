/** Everything that runs, as one ES module without a single import but Node's own. */

import { isBuiltin } from 'node:module';
import { join } from 'node:path';
import { build } from 'esbuild';

export type Bundled = Readonly<{
  /** Folders of the packages whose code is in the module, sorted. */
  packages: readonly string[];
}>;

/** CommonJS packages call `require`: here it knows Node's own modules and nothing else, so no file beside the executable is ever run. */
const REQUIRE = `const require = (name) => {
  const found = process.getBuiltinModule(name);
  if (found) return found;
  throw Object.assign(new Error("no module " + name + " in this executable"), { code: 'MODULE_NOT_FOUND' });
};`;

/** Packages that others use when they happen to be installed, and do without otherwise. */
const OPTIONAL = new Set(['supports-color', 'kerberos']);

const packageOf = (input: string): string | undefined => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];

/** Writes the module to `outfile`. Dynamic imports become lazy parts of it. Throws when something would be loaded from a file at run time. */
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
    minifyWhitespace: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  if (warnings.length > 0) throw new Error(`esbuild has ${warnings.length} warnings about src/main.ts: a single executable can't rely on luck`);
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
  const foreign = imports.filter((each) => each.external && !isBuiltin(each.path) && !OPTIONAL.has(each.path));
  if (foreign.length > 0) throw new Error(`not bundled: ${foreign.map((each) => each.path).join(', ')}`);
  const packages = Object.keys(metafile.inputs).flatMap((input) => packageOf(input) ?? []);
  return { packages: [...new Set(packages)].sort().map((each) => join(root, each)) };
}
