/** The memory of what was loaded: whatever it was changed to, an old bundle does not pass, the code is promised and the file is named. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { parseTarget, targetKey } from '../../src/load/target.ts';
import { isWrite, type Journey, journey } from '../support/command-journey.ts';
import type { Loose } from '../support/hostile-bundle.ts';
import { randomImage } from '../support/random-image.ts';

const statePath = (j: Journey, host = j.target.host): string =>
  join(j.path('state'), 'targets', targetKey(parseTarget(host)), 'lumen.json');

async function loaded(t: Parameters<typeof journey>[0]): Promise<Journey> {
  const j = await journey(t);
  await j.origins[0].put('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
  const manifest = await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`);
  assert.equal((await j.pull(manifest)).code, 0);
  assert.equal((await j.load('--skip-mirrors')).code, 0);
  j.target.clear();
  return j;
}

const edited = (change: (state: Loose) => unknown) => (text: string) => {
  const state = JSON.parse(text);
  change(state);
  return JSON.stringify(state);
};
const ZERO = `sha256:${'0'.repeat(64)}`;

/** What becomes of the text. */
const TEXTS: Readonly<Record<string, (text: string) => string | Buffer>> = {
  empty: () => '',
  'cut in half': (text) => text.slice(0, text.length / 2),
  'zeros of the same length': (text) => Buffer.alloc(text.length),
  'no JSON': () => 'hello',
  'a list': (text) => `[${text}]`,
  null: () => 'null',
  'not UTF-8': (text) => Buffer.concat([Buffer.from(text), Buffer.from([0xff])]),
  'a byte order mark': (text) => `\ufeff${text}`,
  'nested deep': () => `{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`,
  'an empty object': () => '{}',
  'another version': edited((s) => Object.assign(s, { stateVersion: 2 })),
  'a version in quotes': edited((s) => Object.assign(s, { stateVersion: '1' })),
  'an unknown member': edited((s) => Object.assign(s, { lowest: 1 })),
  'one member twice': (text) => text.replace('"highest"', '"highest": {"sequence": 1, "statement": ""}, "highest"'),
  'without highest': edited((s) => delete s.highest),
  'highest null': edited((s) => Object.assign(s, { highest: null })),
  'sequence 0': edited((s) => Object.assign(s.highest, { sequence: 0 })),
  'sequence -1': edited((s) => Object.assign(s.highest, { sequence: -1 })),
  'sequence 1.5': edited((s) => Object.assign(s.highest, { sequence: 1.5 })),
  'sequence 1e400': (text) => text.replace(/"sequence": \d+/, '"sequence": 1e400'),
  'sequence 2^53': (text) => text.replace(/"sequence": \d+/, '"sequence": 9007199254740993'),
  'sequence in quotes': edited((s) => Object.assign(s.highest, { sequence: String(s.highest.sequence) })),
  'sequence NaN': (text) => text.replace(/"sequence": \d+/, '"sequence": NaN'),
  'a highest below what was loaded': edited((s) => Object.assign(s.highest, { sequence: 1 })),
  'a highest below what is being loaded': edited((s) => {
    s.loading = { ...s.loaded };
    delete s.loaded;
    s.highest.sequence = 1;
  }),
  'a statement that is no digest': edited((s) => Object.assign(s.highest, { statement: 'x' })),
  'another statement under the same number': edited((s) => Object.assign(s.highest, { statement: ZERO })),
  'a digest with ../': edited((s) => Object.assign(s.highest, { statement: 'sha256:../../x' })),
  'a newest time that is none': edited((s) => Object.assign(s, { newestCreated: 'zzz' })),
  'a newest time with an offset': edited((s) => Object.assign(s, { newestCreated: '2026-11-21T08:00:00+99:00' })),
  'a newest time on the 40th': edited((s) => Object.assign(s, { newestCreated: '2026-11-40T08:00:00Z' })),
  'without a newest time': edited((s) => delete s.newestCreated),
  'the name of another bundle': edited((s) => Object.assign(s, { name: 'other' })),
  'the name of another target': edited((s) => Object.assign(s, { target: 'node-2:5000' })),
  'a tag that means no digest': edited((s) => Object.assign(s.tags, { 'x:1': 'latest' })),
  'tags as a list': edited((s) => Object.assign(s, { tags: [] })),
  'nine megabytes': (text) => text + ' '.repeat(9 * 1024 * 1024),
};

/** What stands in the file's place. */
const PLACES: Readonly<Record<string, (path: string) => unknown>> = {
  'a directory': (path) => mkdir(path),
  'a pipe': (path) => execFileSync('mkfifo', [path]),
  'a link to a good state': async (path) => {
    await cp(`${path}.good`, `${path}.elsewhere`);
    await symlink(`${path}.elsewhere`, path);
  },
  'a link into nothing': (path) => symlink('nowhere', path),
  'a sparse terabyte': async (path) => {
    await writeFile(path, '');
    await truncate(path, 1024 ** 4);
  },
};

it('a state file that is wrong in any way stops the load with 5 or 6, names the file, and writes nothing', async (t) => {
  const j = await loaded(t);
  const path = statePath(j);
  const text = await readFile(path, 'utf8');
  await writeFile(`${path}.good`, text);
  const attempts: [string, (at: string) => unknown][] = [
    ...Object.entries(TEXTS).map(([what, make]): [string, (at: string) => unknown] => [what, (at) => writeFile(at, make(text))]),
    ...Object.entries(PLACES),
  ];
  for (const [what, put] of attempts) {
    await rm(path, { recursive: true });
    await put(path);
    const readable = what === 'another statement under the same number';
    // Not even on purpose: whoever wants to go back must know what was there.
    const ran = await j.load('--skip-mirrors', ...(readable ? [] : ['--allow-rollback']));
    assert.ok([5, 6].includes(ran.code), `${what}: ${ran.code} ${ran.stderr}`);
    assert.ok(readable || ran.stderr.includes(path), `${what}: ${path} is not named: ${ran.stderr}`);
    assert.deepEqual(j.target.requests.filter(isWrite), [], what);
  }
  t.diagnostic(`${attempts.length} kinds of wrong state`);
  await rm(path, { recursive: true });
  await writeFile(path, text);
  assert.equal((await j.load('--skip-mirrors')).code, 0, 'the good state again: it was that alone');
});

it('a state of another target, copied over, is not taken for this one', async (t) => {
  const j = await loaded(t);
  const elsewhere = `${j.target.host}/elsewhere`;
  await mkdir(dirname(statePath(j, elsewhere)), { recursive: true });
  await cp(statePath(j), statePath(j, elsewhere));
  const ran = await j.load('--skip-mirrors', '--registry', elsewhere);
  assert.equal(ran.code, 6, ran.stderr);
  assert.match(ran.stderr, /E_ROLLBACK/);
});

it("another bundle's broken state at the same target stops the load too: its tags would be nobody's", async (t) => {
  const j = await loaded(t);
  const other = join(dirname(statePath(j)), 'other.json');
  await writeFile(other, '{}');
  const ran = await j.load('--skip-mirrors');
  assert.equal(ran.code, 6);
  assert.ok(ran.stderr.includes(other), ran.stderr);
  assert.deepEqual(j.target.requests.filter(isWrite), []);
});

it('files of other programs in the state directory are left alone', async (t) => {
  const j = await loaded(t);
  await writeFile(join(j.path('state'), 'targets/.DS_Store'), 'x');
  await writeFile(join(j.path('state'), 'targets/notes.txt'), 'x');
  await writeFile(join(dirname(statePath(j)), '.lumen.json.swp'), 'x');
  await writeFile(join(dirname(statePath(j)), '._lumen.json'), 'x');
  const ran = await j.load('--skip-mirrors');
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal(await readFile(join(j.path('state'), 'targets/notes.txt'), 'utf8'), 'x');
});
