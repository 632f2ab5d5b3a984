/** How imports are resolved when everything becomes one module. */

import assert from 'node:assert';
import { isBuiltin } from 'node:module';
import type { Plugin } from 'esbuild';

const ANY = /.*/;

/** Dear to load (crypto 10 ms), objects of functions: what is imported from one is looked up at each use. */
const LATE = new Set(['child_process', 'crypto', 'dns', 'http', 'https', 'tls', 'zlib']);

/**
 * Node's own modules are loaded when the code that uses them first runs. As static imports they would all be loaded at every start,
 * also for commands that never touch them (25 ms).
 */
export const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup(build) {
    build.onResolve({ filter: ANY }, ({ path, kind }) => {
      if (!isBuiltin(path)) return undefined;
      const name = path.replace(/^node:/, '');
      const namespace = kind === 'import-statement' && LATE.has(name) ? 'late-builtin' : 'builtin';
      return { path: name, namespace, sideEffects: false };
    });
    const real = (path: string) => `process.getBuiltinModule(${JSON.stringify(`node:${path}`)})`;
    build.onLoad({ filter: ANY, namespace: 'builtin' }, ({ path }) => ({
      contents: path === 'assert' ? lateAssert : `module.exports = ${real(path)};`,
    }));
    build.onLoad({ filter: ANY, namespace: 'late-builtin' }, ({ path }) => ({
      // Below the exports, since esbuild makes the object that an import reads from with the same prototype.
      contents: `const real = () => ${real(path)};
        module.exports = Object.create(new Proxy({}, { get: (_, name) => real()[name], has: (_, name) => name in real() }));`,
    }));
  },
};

/** Loading it looks for the colours of the terminal (7 ms), and it is needed only for what fails. */
const lateAssert = `const real = () => process.getBuiltinModule('node:assert');
const late = (name) => (...args) => real()[name](...args);
module.exports = Object.assign((value, ...rest) => value || real()(value, ...rest), {
  ${Object.keys(assert)
    .filter((name) => /^[a-z]/.test(name))
    .map((name) => `${name}: late('${name}')`)
    .join(',\n  ')}
});`;

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

/**
 * Of undici its dispatchers alone: the rest (fetch, WebSocket, mocks, caches), and the HTTP/2 that nobody is offered (`allowH2: false`), is a third of what
 * a command that asks a registry waits for at its start (30 ms). Named here is what src/ imports; anything else fails the build.
 */
export const onlyDispatchers: Plugin = {
  name: 'only-dispatchers',
  setup(build) {
    build.onResolve({ filter: /^undici$/ }, () => ({ path: 'undici', namespace: 'dispatchers' }));
    build.onLoad({ filter: ANY, namespace: 'dispatchers' }, () => ({
      contents: `export { default as Agent } from 'undici/lib/dispatcher/agent.js';
        export { default as EnvHttpProxyAgent } from 'undici/lib/dispatcher/env-http-proxy-agent.js';
        export { default as buildConnector } from 'undici/lib/core/connect.js';`,
      resolveDir: import.meta.dirname,
    }));
    build.onLoad({ filter: /undici\/lib\/dispatcher\/client-h2\.js$/ }, () => ({
      contents: `module.exports = () => { throw new Error('HTTP/2 is not in this executable'); };`,
    }));
  },
};
