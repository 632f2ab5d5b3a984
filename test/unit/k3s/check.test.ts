import assert from 'node:assert/strict';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { digestOf } from '../../../src/core/digest.ts';
import { BundleError } from '../../../src/core/errors.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { type CheckReference, checkMirrors, type Head, mirrorCheckError } from '../../../src/k3s/check.ts';
import { desiredMirrors } from '../../../src/k3s/desired-mirrors.ts';
import type { Registries } from '../../../src/k3s/registries.ts';
import { parseRegistriesYaml } from '../../../src/k3s/registries-yaml.ts';
import { createSpawn } from '../../../src/k3s/spawn.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MANIFEST = '{"schemaVersion":2}';
const DIGEST = digestOf(Buffer.from(MANIFEST));
const OTHER = digestOf(Buffer.from('other'));
const REDIS: CheckReference = { origin: 'docker.io', repository: 'library/redis', tag: '7', digest: DIGEST };

const registries = desiredMirrors({
  origins: ['docker.io', 'quay.io'],
  endpoints: ['https://node-1:5000', 'https://node-2:5000'],
  directNames: true,
  tls: { caFile: '/ca.crt' },
  nodeAuth: { username: 'node', password: 'pull' },
});

/** A head that knows URLs (without "?ns=") and writes down what it was asked. */
function createHead(known: Record<string, { status: number; digest?: string } | Error>) {
  const asked: string[] = [];
  const head: Head = async (url) => {
    asked.push(url);
    const answer = known[url.replace(/\?.*/, '')];
    if (answer instanceof Error) throw answer;
    return { status: answer?.status ?? 404, digest: answer?.digest };
  };
  return { head, asked };
}

const at = (node: number, ref: string): string => `https://node-${node}:5000/v2/docker.io/library/redis/manifests/${ref}`;
const checkRedis = (known: Record<string, { status: number; digest?: string } | Error>, model: Registries = registries) => {
  const { head, asked } = createHead(known);
  return checkMirrors({ registries: model, references: [REDIS], asker: { kind: 'head', head } }).then((results) => ({
    results,
    asked,
  }));
};

test('asks by tag and by digest with the path and the ns that containerd uses', async () => {
  const { results, asked } = await checkRedis({
    [at(1, '7')]: { status: 200, digest: DIGEST },
    [at(1, DIGEST)]: { status: 200, digest: DIGEST },
  });
  assert.deepEqual(
    results.map(({ by, ok, reference }) => [by, ok, reference]),
    [
      ['tag', true, 'docker.io/library/redis:7'],
      ['digest', true, `docker.io/library/redis@${DIGEST}`],
    ],
  );
  assert.deepEqual(asked, [`${at(1, '7')}?ns=docker.io`, `${at(1, DIGEST)}?ns=docker.io`]);
  assert.equal(mirrorCheckError(results), undefined);
});

test('a 404 is reported as "not in the mirror", also when another endpoint fails with TLS', async () => {
  const tls = new BundleError('E_TLS', 'server gave HTTP response to HTTPS client');
  const { results } = await checkRedis({ [at(2, '7')]: tls, [at(2, DIGEST)]: tls });
  assert.deepEqual(
    results.map(({ fault }) => fault),
    ['not in the mirror', 'not in the mirror'],
  );
  const error = mirrorCheckError(results);
  assert.equal(error?.code, 'E_MIRROR_CHECK');
  assert.match(
    error?.message ?? '',
    /^2 of 2 references.*\ndocker\.io\/library\/redis:7 by tag: not in the mirror \(https:\/\/node-1.*HTTP 404\)/,
  );
  assert.match(error?.hint ?? '', /bundle load/);
});

test('the second endpoint serves where the first fails, as in containerd', async () => {
  const { results } = await checkRedis({
    [at(1, '7')]: new BundleError('E_NETWORK', 'refused'),
    [at(1, DIGEST)]: { status: 500 },
    [at(2, '7')]: { status: 200, digest: DIGEST },
    [at(2, DIGEST)]: { status: 200, digest: DIGEST },
  });
  assert.ok(results.every(({ ok }) => ok));
});

test('another digest under the tag is a failure, not a success', async () => {
  const { results } = await checkRedis({
    [at(1, '7')]: { status: 200, digest: OTHER },
    [at(1, DIGEST)]: { status: 200, digest: DIGEST },
  });
  assert.deepEqual(
    results.map(({ fault }) => fault),
    ['other digest', undefined],
  );
  assert.match(results[0]?.detail ?? '', new RegExp(`got ${OTHER}, want ${DIGEST}`));
});

test('refused logins, silence and answers without a digest are told apart', async () => {
  const reasons = async (answer: { status: number } | Error): Promise<unknown> =>
    (await checkRedis({ [at(1, '7')]: answer, [at(2, '7')]: answer })).results[0]?.fault;
  assert.equal(await reasons({ status: 401 }), 'not allowed');
  assert.equal(await reasons({ status: 403 }), 'not allowed');
  assert.equal(await reasons(new BundleError('E_AUTH', 'no')), 'not allowed');
  assert.equal(await reasons({ status: 500 }), 'unreachable');
  assert.equal(await reasons(new Error('ECONNREFUSED')), 'unreachable');
  assert.equal(await reasons({ status: 200 }), 'unreachable');
});

test('an origin without a mirror of its own fails: the registry itself is never asked', async () => {
  for (const yaml of [
    '',
    'mirrors: {docker.io: {}}',
    'mirrors: {docker.io: {endpoint: [docker.io]}}',
    'mirrors: {"*": {endpoint: [https://m]}}',
  ]) {
    const { results, asked } = await checkRedis({}, parseRegistriesYaml(yaml, 'r').registries);
    assert.deepEqual(
      results.map(({ fault }) => fault),
      ['no mirror', 'no mirror'],
      yaml,
    );
    assert.deepEqual(asked, []);
  }
});

test('a reference without a tag is asked for by digest only', async () => {
  const { head } = createHead({ [at(1, DIGEST)]: { status: 200, digest: DIGEST } });
  const { tag: _, ...untagged } = REDIS;
  const results = await checkMirrors({ registries, references: [untagged], asker: { kind: 'head', head } });
  assert.deepEqual(
    results.map(({ by, ok }) => [by, ok]),
    [['digest', true]],
  );
});

test('head learns which CA and login the node would use', async () => {
  const seen: unknown[] = [];
  const head: Head = async (_, endpoint) => {
    seen.push(endpoint.config);
    return { status: 404, digest: undefined };
  };
  await checkMirrors({ registries, references: [REDIS], asker: { kind: 'head', head } });
  assert.deepEqual(seen[0], { auth: { username: 'node', password: 'pull' }, tls: { ca_file: '/ca.crt' } });
});

const CTR = `#!/bin/sh
echo "$*" >> "$DIR/calls"
[ "$1 $2 $3" = "content fetch-object --hosts-dir" ] || exit 64
cp "$4/docker.io/hosts.toml" "$DIR/seen.toml"
stat -c %a "$4/docker.io/hosts.toml" > "$DIR/mode"
case "$5" in
*redis:7) printf '%s' '${MANIFEST}' ;;
*redis@*) printf other ;;
*gone*) echo 'level=info msg="fetch failed after status: 404 Not Found" host="node-1:5000"' >&2; echo "ctr: $5: not found" >&2; exit 1 ;;
*secret*) echo 'ctr: pull access denied, repository does not exist or may require authorization' >&2; exit 1 ;;
*) echo 'ctr: failed to do request: dial tcp: connection refused' >&2; exit 1 ;;
esac
`;

test('through ctr: its own resolver, files for the mirrors only, logins not on the command line, all removed after', async (t) => {
  const directory = await tempDir(t);
  await writeFile(`${directory}/ctr`, CTR);
  await chmod(`${directory}/ctr`, 0o755);
  const spawn = createSpawn({ DIR: directory, PATH: `${directory}:/usr/bin:/bin` });
  const named = (repository: string): CheckReference => ({ ...REDIS, repository });
  const results = await checkMirrors({
    registries,
    references: [REDIS, named('library/gone'), named('library/secret'), named('library/down')],
    asker: { kind: 'ctr', command: ['ctr'], spawn, fs: nodeFileSystem, temporaryDirectory: directory },
  });
  assert.deepEqual(
    results.map(({ ok, fault }) => fault ?? ok),
    [true, 'other digest', 'not in the mirror', 'not in the mirror', 'not allowed', 'not allowed', 'unreachable', 'unreachable'],
  );
  assert.doesNotMatch(await readFile(`${directory}/calls`, 'utf8'), /pull|bm9kZTpwdWxs/);
  assert.equal((await readFile(`${directory}/mode`, 'utf8')).trim(), '600');
  assert.equal(
    await readFile(`${directory}/seen.toml`, 'utf8'),
    `server = "https://node-2:5000/v2/docker.io"
capabilities = ["pull", "resolve"]
override_path = true
ca = ["/ca.crt"]
[header]
authorization = "Basic bm9kZTpwdWxs"
[host]
[host."https://node-1:5000/v2/docker.io"]
capabilities = ["pull", "resolve"]
override_path = true
ca = ["/ca.crt"]
[host."https://node-1:5000/v2/docker.io".header]
authorization = "Basic bm9kZTpwdWxs"
`,
  );
  assert.deepEqual(
    (await readdir(directory)).filter((name) => name.startsWith('bundle-hosts')),
    [],
  );
});

test('no ctr to be run: an error, and no folder with logins is left', async (t) => {
  const directory = await tempDir(t);
  const spawn = createSpawn({ PATH: directory });
  const asker = { kind: 'ctr', command: ['ctr'], spawn, fs: nodeFileSystem, temporaryDirectory: directory } as const;
  await rejectsWith(checkMirrors({ registries, references: [REDIS], asker }), 'E_NOT_FOUND');
  assert.deepEqual(await readdir(directory), []);
});
