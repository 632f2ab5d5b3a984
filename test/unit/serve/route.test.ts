import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Refusal } from '../../../src/serve/refusal.ts';
import { digestIn, digestParameter, parseTarget, referenceIn } from '../../../src/serve/route.ts';

const route = (url: string) => parseTarget(url).route;
const refused =
  (code: string, status = 400) =>
  (error: unknown) =>
    error instanceof Refusal && error.code === code && error.status === status;

test('every path of the API', () => {
  assert.deepEqual(route('/v2/a/b/blobs/x'), { kind: 'blob', repository: 'a/b', digest: 'x' });
  assert.deepEqual(route('/v2/a/b/blobs/uploads/'), { kind: 'uploads', repository: 'a/b' });
  assert.deepEqual(route('/v2/a/b/blobs/uploads'), { kind: 'uploads', repository: 'a/b' });
  assert.deepEqual(route('/v2/a/b/blobs/uploads/id?x=1'), { kind: 'upload', repository: 'a/b', id: 'id' });
  assert.deepEqual(route('/v2/a/manifests/v1'), { kind: 'manifest', repository: 'a', reference: 'v1' });
  assert.deepEqual(route('/v2/a/tags/list?n=1'), { kind: 'tags', repository: 'a' });
  assert.deepEqual(route('/v2/a/referrers/d'), { kind: 'referrers', repository: 'a', digest: 'd' });
  for (const ping of ['/v2', '/v2/', '/v2/docker.io/', '/v2/a/b/']) assert.deepEqual(route(ping), { kind: 'ping' }, ping);
  assert.deepEqual(route('/token?scope=x'), { kind: 'token' });
  assert.deepEqual(route('/v2/_catalog?n=1'), { kind: 'catalog' });
  assert.deepEqual(route('/v2/a%2Fb/tags/list'), { kind: 'tags', repository: 'a/b' });
});

test('an absolute URL is its path', () => {
  assert.deepEqual(route('http://10.0.0.1:5000/v2/a/tags/list?n=1'), { kind: 'tags', repository: 'a' });
  assert.equal(parseTarget('HTTPS://registry/v2/?x=1').query.get('x'), '1');
  assert.deepEqual(route('http://registry'), { kind: 'none' });
  assert.deepEqual(route('http:/v2/'), { kind: 'none' });
});

test('anything else is none of it', () => {
  for (const url of [
    '',
    '/',
    '*',
    'v2/',
    '/v1/',
    '/v2/a',
    '/v2/a/b/c',
    '/v2/manifests/x',
    '/v2/A/',
    '/v2/a/tags/other',
    '/token/',
    '/v2/a/manifests/v1/',
    '/v2/a/tags/list/',
    '/v2/_catalog/',
    '/x/v2/',
  ]) {
    assert.deepEqual(route(url), { kind: 'none' }, url);
  }
});

test('paths are decoded once, names are checked', () => {
  assert.deepEqual(route('/v2/a/blobs/sha256%3Aab'), { kind: 'blob', repository: 'a', digest: 'sha256:ab' });
  const bad = [
    '/v2/A/tags/list',
    '/v2/../tags/list',
    '/v2/a//b/tags/list',
    '/v2/%2e%2e/blobs/x',
    '/v2/a%00/blobs/x',
    '/v2/%/blobs/x',
  ];
  for (const url of [...bad, `/v2/${'a'.repeat(256)}/tags/list`]) assert.throws(() => route(url), refused('NAME_INVALID'), url);
});

test('a digest parameter counts once: the same twice is one, two different ones are refused', () => {
  const [a, b] = ['a', 'b'].map((c) => `sha256:${c.repeat(64)}`) as [string, string];
  const of = (text: string) => digestParameter(new URLSearchParams(text), 'digest');
  assert.equal(of(''), undefined);
  assert.equal(of(`digest=${a}`), a);
  assert.equal(of(`digest=${a}&x=1&digest=${a}`), a);
  for (const bad of [`digest=${a}&digest=${b}`, `digest=${a}&digest=`, 'digest=', 'digest=bad'])
    assert.throws(() => of(bad), refused('DIGEST_INVALID'), bad);
});

test('digests and tags by their grammar', () => {
  const hex = 'a'.repeat(64);
  assert.equal(digestIn(`sha256:${hex}`), `sha256:${hex}`);
  for (const bad of [
    '',
    'latest',
    `sha256:${hex}a`,
    `sha256:${'A'.repeat(64)}`,
    `sha384:${'a'.repeat(96)}`,
    `sha256:${hex}/../x`,
  ]) {
    assert.throws(() => digestIn(bad), refused('DIGEST_INVALID'), bad);
  }
  assert.equal(referenceIn('_A.b-c'), '_A.b-c');
  assert.throws(() => referenceIn('sha256:bad'), refused('DIGEST_INVALID'));
  for (const bad of ['', '.a', '-a', 'a/b', 'a b', '..', 'a'.repeat(129)])
    assert.throws(() => referenceIn(bad), refused('MANIFEST_INVALID'), bad);
});
