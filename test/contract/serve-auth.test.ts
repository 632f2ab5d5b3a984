import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Action } from '../../src/serve/access.ts';
import type { AuthOptions } from '../../src/serve/authenticator.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { assertRefused, bench, bytes, type Call, pushBlob, type Store } from './serve-harness.ts';

const MEMORY: Store = { name: 'memory', open: async () => createMemoryContent() };
const users = { ann: 's3cret:with colon', bob: 'other' };
const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
const ANN = basic('ann', users.ann);
const as = (authorization: string) => ({ headers: { authorization } });
const bearer: AuthOptions = { kind: 'bearer', users, service: 'test' };

async function token(call: Call, scope: string, authorization?: string): Promise<string> {
  const reply = await call('GET', `/token?service=test&${scope}`, authorization === undefined ? {} : as(authorization));
  assert.equal(reply.status, 200, reply.body.toString());
  const answer = JSON.parse(reply.body.toString());
  assert.equal(answer.token, answer.access_token);
  return `Bearer ${answer.token}`;
}

describe('basic authentication', () => {
  test('without, with wrong and with right credentials', async (t) => {
    const { call } = await bench(t, MEMORY, { auth: { kind: 'basic', users } });
    for (const options of [
      {},
      as(basic('ann', 'wrong')),
      as(basic('eve', '')),
      as(basic('__proto__', '')),
      as('Basic %%%'),
      as('Bearer x'),
    ]) {
      const reply = await call('GET', '/v2/', options);
      assertRefused(reply, 401, 'UNAUTHORIZED');
      assert.equal(reply.headers['www-authenticate'], 'Basic realm="registry"');
    }
    assert.equal((await call('GET', '/v2/', as(ANN))).status, 200);
    assertRefused(await call('POST', '/v2/x/blobs/uploads/', { body: bytes(100) }), 401, 'UNAUTHORIZED');
    assert.equal((await call('GET', '/token')).status, 404);
  });

  test('anonymous pulls where allowed, pushes not', async (t) => {
    const { call } = await bench(t, MEMORY, { auth: { kind: 'basic', users, anonymousPull: true } });
    assert.equal((await call('GET', '/v2/')).status, 200);
    assert.equal((await call('GET', '/v2/x/tags/list')).status, 404);
    assertRefused(await call('POST', '/v2/x/blobs/uploads/'), 401, 'UNAUTHORIZED');
    assertRefused(await call('GET', '/v2/', as(basic('ann', 'wrong'))), 401, 'UNAUTHORIZED');
  });

  test('a known user who may not is 403 DENIED, and can not mount what it may not read', async (t) => {
    const may = (user: string, repository: string) => user === 'ann' || repository.startsWith('bob/');
    const { call, content } = await bench(t, MEMORY, { auth: { kind: 'basic', users, may } });
    const withAnn: Call = (method, path, options) => call(method, path, { ...options, ...as(ANN) });
    const digest = await pushBlob(withAnn, 'private', bytes(50));
    const bob = as(basic('bob', users.bob));
    assertRefused(await call('GET', `/v2/private/blobs/${digest}`, bob), 403, 'DENIED');
    assert.equal((await call('POST', `/v2/bob/x/blobs/uploads/?mount=${digest}&from=private`, bob)).status, 202);
    assert.equal((await call('POST', `/v2/bob/x/blobs/uploads/?mount=${digest}`, bob)).status, 202);
    assert.equal(await content.blob('bob/x', digest), undefined);
    assert.equal((await withAnn('POST', `/v2/bob/x/blobs/uploads/?mount=${digest}&from=private`)).status, 201);
  });
});

test('how far an upload is, is told to those alone who may push there', async (t) => {
  const may = (user: string, _: string, action: Action) => user === 'ann' || action === 'pull';
  const { call } = await bench(t, MEMORY, { auth: { kind: 'basic', users, anonymousPull: true, may } });
  const location = (await call('POST', '/v2/x/blobs/uploads/', as(ANN))).headers.location ?? '';
  assertRefused(await call('GET', location), 401, 'UNAUTHORIZED');
  assertRefused(await call('GET', location, as(basic('bob', users.bob))), 403, 'DENIED');
  assert.equal((await call('GET', location, as(ANN))).status, 204);
});

describe('bearer tokens', () => {
  test('the challenge names realm, service and the scopes of the request', async (t) => {
    const { call, registry } = await bench(t, MEMORY, { auth: bearer });
    const realm = `Bearer realm="${registry.url}/token",service="test"`;
    const digest = `sha256:${'0'.repeat(64)}`;
    for (const [method, path, scope] of [
      ['GET', '/v2/', ''],
      ['HEAD', '/v2/a/b/manifests/x', ',scope="repository:a/b:pull"'],
      ['PUT', '/v2/a/b/manifests/x', ',scope="repository:a/b:pull,push"'],
      ['DELETE', '/v2/a/b/manifests/x', ',scope="repository:a/b:delete"'],
      ['POST', `/v2/a/blobs/uploads/?mount=${digest}&from=c/d`, ',scope="repository:a:pull,push repository:c/d:pull"'],
    ] as const) {
      const reply = await call(method, path);
      assert.equal(reply.status, 401);
      assert.equal(reply.headers['www-authenticate'], realm + scope);
    }
  });

  test('a token opens what it was asked for and nothing else', async (t) => {
    const { call } = await bench(t, MEMORY, { auth: bearer });
    const pull = await token(call, 'scope=repository:a/b:pull', ANN);
    assert.equal((await call('GET', '/v2/', as(pull))).status, 200);
    assert.equal((await call('GET', '/v2/a/b/tags/list', as(pull))).status, 404);
    for (const [method, path] of [
      ['GET', '/v2/a/c/tags/list'],
      ['POST', '/v2/a/b/blobs/uploads/'],
    ] as const) {
      const reply = await call(method, path, as(pull));
      assert.equal(reply.status, 401);
      assert.match(reply.headers['www-authenticate'] ?? '', /error="insufficient_scope"/);
    }
    assert.match((await call('GET', '/v2/', as('Bearer made-up'))).headers['www-authenticate'] ?? '', /error="invalid_token"/);
    assert.equal((await call('GET', '/v2/', as(ANN))).status, 401);
    const both = await token(call, 'scope=repository:a/b:pull,push&scope=repository:c:*', ANN);
    assert.equal((await call('POST', '/v2/a/b/blobs/uploads/', as(both))).status, 202);
    assert.equal((await call('DELETE', '/v2/c/manifests/x', as(both))).status, 404);
    const joined = await token(call, `scope=${encodeURIComponent('repository:a:pull repository:b:pull')}`, ANN);
    assert.equal((await call('GET', '/v2/b/tags/list', as(joined))).status, 404);
  });

  test('mount needs a token for both repositories, otherwise it becomes an upload', async (t) => {
    const { call, content } = await bench(t, MEMORY, { auth: bearer });
    const all = await token(call, 'scope=repository:a:pull,push&scope=repository:b:pull,push', ANN);
    const withAll: Call = (method, path, options) => call(method, path, { ...options, ...as(all) });
    const digest = await pushBlob(withAll, 'a', bytes(40));
    const onlyB = as(await token(call, 'scope=repository:b:pull,push', ANN));
    assert.equal((await call('POST', `/v2/b/blobs/uploads/?mount=${digest}&from=a`, onlyB)).status, 202);
    assert.equal((await call('POST', `/v2/b/blobs/uploads/?mount=${digest}`, onlyB)).status, 202);
    assert.equal(await content.blob('b', digest), undefined);
    assert.equal((await withAll('POST', `/v2/b/blobs/uploads/?mount=${digest}&from=a`)).status, 201);
  });

  test('tokens expire', async (t) => {
    const { call } = await bench(t, MEMORY, { auth: { ...bearer, lifetimeSeconds: 0 } as AuthOptions });
    assert.equal((await call('GET', '/v2/', as(await token(call, '', ANN)))).status, 401);
  });

  test('no credentials: no token, or one to pull with where that is allowed', async (t) => {
    const closed = await bench(t, MEMORY, { auth: bearer });
    const refused = await closed.call('GET', '/token?scope=repository:a:pull');
    assertRefused(refused, 401, 'UNAUTHORIZED');
    assert.match(refused.headers['www-authenticate'] ?? '', /^Basic /);
    const open = await bench(t, MEMORY, { auth: { ...bearer, anonymousPull: true } as AuthOptions });
    const anonymous = as(await token(open.call, 'scope=repository:a:pull,push'));
    assert.equal((await open.call('GET', '/v2/a/tags/list', anonymous)).status, 404);
    assert.equal((await open.call('POST', '/v2/a/blobs/uploads/', anonymous)).status, 401);
    assertRefused(await open.call('GET', '/token', as(basic('ann', 'wrong'))), 401, 'UNAUTHORIZED');
  });

  test('OAuth2: by password, and with the refresh token that came with it', async (t) => {
    const { call } = await bench(t, MEMORY, { auth: bearer });
    const post = (fields: Record<string, string>) =>
      call('POST', '/token', {
        body: Buffer.from(new URLSearchParams(fields).toString()),
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      });
    const scope = 'repository:a:pull';
    const login = { grant_type: 'password', username: 'ann', scope, access_type: 'offline' };
    assertRefused(await post({ ...login, password: 'wrong' }), 401, 'UNAUTHORIZED');
    const first = JSON.parse((await post({ ...login, password: users.ann })).body.toString());
    const second = await post({ grant_type: 'refresh_token', refresh_token: first.refresh_token, scope });
    const { access_token } = JSON.parse(second.body.toString());
    assert.equal((await call('GET', '/v2/a/tags/list', as(`Bearer ${access_token}`))).status, 404);
    assertRefused(await post({ grant_type: 'refresh_token', refresh_token: 'made-up', scope }), 401, 'UNAUTHORIZED');
  });
});
