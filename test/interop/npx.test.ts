/** `npx bundle` in a clone after `npm ci`, with the Node and npm that the machine happens to have. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../support/temp-dir.ts';

const project = resolve(import.meta.dirname, '../..');

test('npx bundle works in a clone after npm ci, from a folder in it too, and brings the exit code home', async (t) => {
  const clone = await tempDir(t, 'bundle-clone-');
  // What git has or would take, as it is now: a commit in the making is tested too.
  const copy =
    'git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c \'for f; do [ -e "$f" ] && echo "$f"; done\' sh | tar -c -T - | tar -x -C "$1"';
  execFileSync('sh', ['-c', copy, 'sh', clone], { cwd: project, stdio: ['ignore', 'ignore', 'inherit'] });
  // Without the pinned Node that npm puts first when it runs this very test.
  const PATH = (process.env.PATH ?? '').split(delimiter).filter((each) => !each.includes('node_modules'));
  const settings = /^npm_(?!config_(registry|userconfig))/;
  const kept = Object.entries(process.env).filter(([name]) => !settings.test(name));
  const env = { ...Object.fromEntries(kept), PATH: PATH.join(delimiter), npm_config_cache: join(project, '.cache/npm') };
  const run = (program: string, argv: readonly string[], cwd = clone) => spawnSync(program, argv, { cwd, env, encoding: 'utf8' });

  const ci = run('npm', ['ci']);
  assert.equal(ci.status, 0, ci.stderr);
  assert.ok(existsSync(join(clone, 'node_modules/.bin/bundle')), 'npm 7 and 8 look only there');
  const { version } = JSON.parse(readFileSync(join(clone, 'package.json'), 'utf8')) as { version: string };
  for (const cwd of [clone, join(clone, 'src/cli')])
    assert.equal(run('npx', ['bundle', '--version'], cwd).stdout, `${version}\n`);
  assert.equal(run('npx', ['bundle', 'no-such-command']).status, 2);
});
