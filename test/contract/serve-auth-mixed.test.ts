/** What `bundle serve --htpasswd … --anonymous-pull` offers: Basic, tokens, and pulls with nothing at all. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { AuthOptions } from '../../src/serve/authenticator.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import type { Login } from '../../src/serve/passwords.ts';
import { Refusal } from '../../src/serve/refusal.ts';
import { parsePushRight, rightsOf } from '../../src/serve/rights.ts';
import { assertRefused, bench, bytes, type Call, pushBlob, pushImage, type Store } from './serve-harness.ts';

const MEMORY: Store = { name: 'memory', open: async () => createMemoryContent() };
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});
const ANN = basic('ann', 'right');
const BOB = basic('bob', 'right');

const passwords = new Map([
  ['ann', 'right'],
  ['bob', 'right'],
]);
const auth: AuthOptions = {
  kind: 'mixed',
  users: async ({ user, password }: Login) => {
    if (password === 'busy') throw new Refusal(429, 'TOOMANYREQUESTS', 'busy');
    return passwords.get(user) === password;
  },
  anonymousPull: true,
  may: rightsOf([parsePushRight('ann=*'), parsePushRight('bob=team')]),
  readsEverything: true,
  refreshTokens: false,
};

const withHeaders =
  (call: Call, headers: Record<string, string>): Call =>
  (method, path, options) =>
    call(method, path, { ...options, headers: { ...options?.headers, ...headers } });

async function tokenFor(call: Call, scope: string, headers: Record<string, string> = {}) {
  const reply = await call('GET', `/token?service=registry&scope=${scope}&offline_token=true`, { headers });
  assert.equal(reply.status, 200, reply.body.toString());
  const answer = JSON.parse(reply.body.toString());
  assert.equal(answer.refresh_token, undefined, 'it would outlive the password');
  return { authorization: `Bearer ${answer.token}` };
}

describe('Basic, tokens, or nothing', () => {
  test('a ping without a login is told how to log in, and a pull needs none', async (t) => {
    const { call, registry } = await bench(t, MEMORY, { auth });
    const { digest } = await pushImage(withHeaders(call, ANN), 'team/app', {}, '1');
    for (const path of ['/v2/', '/v2/docker.io/']) {
      const ping = await call('GET', path);
      assertRefused(ping, 401, 'UNAUTHORIZED');
      assert.equal(ping.headers['www-authenticate'], `Bearer realm="${registry.url}/token",service="registry"`);
    }
    assert.equal((await call('GET', '/v2/team/app/manifests/1')).status, 200);
    const anonymous = await tokenFor(call, 'repository:team/app:pull');
    assert.equal((await call('GET', '/v2/', { headers: anonymous })).status, 200);
    assert.equal((await call('GET', `/v2/team/app/manifests/${digest}`, { headers: anonymous })).status, 200);
  });

  test('nobody writes without a login, whatever token they got', async (t) => {
    const { call } = await bench(t, MEMORY, { auth });
    const anonymous = await tokenFor(call, 'repository:team/app:pull,push,delete');
    for (const headers of [{}, anonymous, { authorization: 'Bearer made-up' }, { authorization: 'Nonsense' }]) {
      const start = await call('POST', '/v2/team/app/blobs/uploads/', { headers });
      assertRefused(start, 401, 'UNAUTHORIZED');
      assert.match(start.headers['www-authenticate'] ?? '', /scope="repository:team\/app:pull,push"/);
      assertRefused(await call('DELETE', '/v2/team/app/manifests/1', { headers }), 401, 'UNAUTHORIZED');
    }
  });

  test('a wrong password is refused, not served as a stranger; too many logins are 429', async (t) => {
    const { call } = await bench(t, MEMORY, { auth });
    for (const path of ['/v2/', '/v2/team/app/tags/list', '/token?scope=repository:team/app:pull']) {
      assertRefused(await call('GET', path, { headers: basic('ann', 'wrong') }), 401, 'UNAUTHORIZED');
      assertRefused(await call('GET', path, { headers: basic('ann', 'busy') }), 429, 'TOOMANYREQUESTS');
    }
  });

  for (const [name, headersFor] of [
    ['Basic', async (_: Call, login: Record<string, string>) => login],
    [
      'a token',
      (call: Call, login: Record<string, string>) => tokenFor(call, 'repository:team/app:*&scope=repository:other:*', login),
    ],
  ] as const) {
    test(`rights hold for pushes and deletes with ${name}`, async (t) => {
      const { call } = await bench(t, MEMORY, { auth });
      const [ann, bob] = [await headersFor(call, ANN), await headersFor(call, BOB)];
      await pushImage(withHeaders(call, ann), 'other', {}, '1');
      await pushImage(withHeaders(call, bob), 'team/app', {}, '1');
      const denied = name === 'Basic' ? 403 : 401;
      for (const [method, path] of [
        ['POST', '/v2/other/blobs/uploads/'],
        ['PUT', '/v2/other/manifests/1'],
        ['DELETE', '/v2/other/manifests/1'],
      ] as const)
        assert.equal((await call(method, path, { headers: bob })).status, denied, `${method} ${path}`);
      assert.equal((await call('GET', '/v2/other/manifests/1', { headers: bob })).status, 200);
      assert.equal((await call('DELETE', '/v2/team/app/manifests/1', { headers: bob })).status, 202);
    });
  }

  test('who may read everything may mount from everywhere, named or not', async (t) => {
    const { call } = await bench(t, MEMORY, { auth });
    const digest = await pushBlob(withHeaders(call, ANN), 'other', bytes(40));
    assert.equal((await call('POST', `/v2/team/x/blobs/uploads/?mount=${digest}&from=other`, { headers: BOB })).status, 201);
    assert.equal((await call('POST', `/v2/team/y/blobs/uploads/?mount=${digest}`, { headers: BOB })).status, 201);
  });
});
