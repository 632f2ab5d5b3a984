/** How imports are resolved when everything becomes one module. */

import { isBuiltin } from 'node:module';
import type { Plugin } from 'esbuild';

const ANY = /.*/;

/**
 * Node's own modules are loaded when the code that uses them first runs. As static imports they would all be loaded at every start,
 * also for commands that never touch them (25 ms).
 */
export const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup(build) {
    build.onResolve({ filter: ANY }, ({ path }) =>
      isBuiltin(path) ? { path: path.replace(/^node:/, ''), namespace: 'builtin', sideEffects: false } : undefined,
    );
    build.onLoad({ filter: ANY, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(`node:${path}`)});`,
    }));
  },
};

/**
 * Packages that others use when they happen to be installed, and do without otherwise: they are never there. Half a megabyte of
 * character sets (iconv-lite) is for response bodies as text in encodings that no registry or signing service has.
 */
const ABSENT = new Set(['supports-color', 'kerberos', 'iconv-lite', 'encoding']);

export const absentPackages: Plugin = {
  name: 'absent-packages',
  setup(build) {
    build.onResolve({ filter: ANY }, ({ path }) => (ABSENT.has(path) ? { path, namespace: 'absent' } : undefined));
    build.onLoad({ filter: ANY, namespace: 'absent' }, ({ path }) => ({
      contents: `throw Object.assign(new Error('no module ${path} in this executable'), { code: 'MODULE_NOT_FOUND' });`,
    }));
  },
};

/**
 * The help text is laid out with string-width, which builds expressions for every emoji when it is loaded (30 ms of each start). Ours
 * are in ASCII: there the length is the width.
 */
export const plainWidth: Plugin = {
  name: 'plain-width',
  setup(build) {
    build.onResolve({ filter: /^string-width$/ }, () => ({ path: 'string-width', namespace: 'plain-width' }));
    build.onLoad({ filter: ANY, namespace: 'plain-width' }, () => ({
      contents: `import { stripVTControlCharacters } from 'node:util';
        export default (text) => stripVTControlCharacters(String(text)).length;`,
    }));
  },
};
