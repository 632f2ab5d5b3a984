import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type FaultRegistry, type FaultRegistryOptions, startFaultRegistry } from '../../support/fault-registry.ts';
import { randomImage } from '../../support/random-image.ts';
import type { Ending } from '../../support/temp-dir.ts';

const ALICE = { alice: { password: 'wonderland', identityToken: 'refresh-alice' } };
const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

async function start(t: Ending, options: FaultRegistryOptions = {}): Promise<FaultRegistry> {
  const registry = await startFaultRegistry(t, { users: ALICE, ...options, switches: { auth: 'bearer', ...options.switches } });
  registry.add('a/b', 'v1', await randomImage());
  return registry;
}

const manifest = (registry: FaultRegistry, authorization?: string, path = '/v2/a/b/manifests/v1', method = 'GET') =>
  fetch(registry.url + path, { method, redirect: 'manual', headers: authorization === undefined ? {} : { authorization } });

async function token(
  registry: FaultRegistry,
  query: string,
  headers: Record<string, string> = {},
): Promise<Record<string, unknown>> {
  const answer = await fetch(`${registry.url}/token?${query}`, { headers });
  return { status: answer.status, ...((await answer.json()) as object) };
}

const challengeOf = async (registry: FaultRegistry, path = '/v2/') =>
  (await manifest(registry, undefined, path)).headers.get('www-authenticate');

describe('the stand-in registry and who may do what', () => {
  it('gives an anonymous token for pulling and takes it, and asks for more where it is not enough', async (t) => {
    const registry = await start(t);
    const scope = 'scope=repository:a/b:pull';
    assert.match(
      (await challengeOf(registry, '/v2/a/b/manifests/v1')) ?? '',
      /^Bearer realm=".*\/token",service=".*",scope="repository:a\/b:pull"$/,
    );
    const { token: value, expires_in } = await token(registry, scope);
    assert.equal(expires_in, 300);
    assert.equal((await manifest(registry, `Bearer ${value}`)).status, 200);
    const push = await manifest(registry, `Bearer ${value}`, '/v2/a/b/blobs/uploads/', 'POST');
    assert.equal(push.status, 401);
    assert.match(push.headers.get('www-authenticate') ?? '', /insufficient_scope/);
    const reduced = await token(registry, 'scope=repository:a/b:pull,push');
    assert.equal((await manifest(registry, `Bearer ${reduced.token}`, '/v2/a/b/blobs/uploads/', 'POST')).status, 401);
    const full = await token(registry, 'scope=repository:a/b:pull,push', { authorization: basic('alice', 'wonderland') });
    assert.equal((await manifest(registry, `Bearer ${full.token}`, '/v2/a/b/blobs/uploads/', 'POST')).status, 202);
    registry.expireTokens();
    assert.match((await manifest(registry, `Bearer ${full.token}`)).headers.get('www-authenticate') ?? '', /invalid_token/);
    assert.equal((await token(registry, scope, { authorization: basic('alice', 'stale') })).status, 401);
  });

  it('gives tokens for an identity token by POST, unless told not to', async (t) => {
    const registry = await start(t);
    const body = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: 'refresh-alice',
      scope: 'repository:a/b:pull',
    });
    const post = () => fetch(`${registry.url}/token`, { method: 'POST', body });
    assert.equal((await post()).status, 200);
    registry.switches.tokenMethod = 'get-only';
    assert.equal((await post()).status, 405);
    registry.switches.tokenMethod = 'post-404';
    assert.equal((await post()).status, 404);
  });

  it('has the challenges of public registries', async (t) => {
    const registry = await start(t);
    const repository = '/v2/a/b/manifests/v1';
    const want: [FaultRegistry['switches']['challenge'], string, RegExp][] = [
      ['gar', '/v2/', /^Bearer realm="[^"]*"$/],
      ['ghcr', '/v2/', /scope="repository:user\/image:pull"/],
      ['ecrpub', repository, /scope="aws"/],
      ['gitea', '/v2/', /scope="\*", Basic realm=/],
      ['one-line', repository, /^Basic realm="both, really", Bearer /],
      ['escaped', repository, /^bEaReR {3}odd="a, b=\\"c\\"/],
      ['unquoted-scope', repository, /scope=repository:a\/b:pull$/],
      ['realm-only', repository, /^Bearer realm="[^"]*"$/],
      ['nexus', '/v2/x/y/tags/list', /^BASIC realm/],
    ];
    for (const [challenge, path, form] of want) {
      Object.assign(registry.switches, { challenge, anonymousPull: challenge !== 'nexus' });
      assert.match((await challengeOf(registry, path)) ?? '', form, challenge);
    }
    registry.switches.challenge = 'harbor-wrong';
    assert.equal((await manifest(registry, 'Bearer stale')).headers.get('www-authenticate'), 'Basic realm="harbor"');
    registry.switches.challenge = 'harbor-noproject';
    assert.equal((await manifest(registry, 'Bearer stale')).headers.get('www-authenticate'), '');
    registry.switches.waMissingOnRepo = true;
    assert.equal(await challengeOf(registry, repository), null);
    assert.notEqual(await challengeOf(registry), null);
  });

  it('points the realm anywhere', async (t) => {
    const registry = await start(t);
    const realm = async (realmHost: FaultRegistry['switches']['realmHost']) => {
      registry.switches.realmHost = realmHost;
      return /realm="([^"]*)"/.exec((await challengeOf(registry)) ?? '')?.[1] ?? '';
    };
    assert.equal(await realm('private-ip'), 'http://169.254.169.254/latest/token');
    assert.equal(await realm('file'), 'file:///etc/passwd');
    const other = await realm('other');
    assert.equal(other, `${registry.urls.token}/token`);
    assert.equal((await fetch(`${other}?scope=repository:a/b:pull`)).status, 200);
    assert.equal((await fetch(await realm('elsewhere'))).status, 403);
    assert.equal(registry.seen('token', 'GET', 'elsewhere').length, 1);
  });

  it('refuses old tokens, loops, and missing things in the ways of public registries', async (t) => {
    const registry = await start(t);
    registry.switches.expired = '400-nowa';
    const old = await manifest(registry, 'Bearer old');
    assert.deepEqual([old.status, old.headers.get('www-authenticate')], [400, null]);
    registry.switches.expired = '401-other-realm';
    assert.match(
      (await manifest(registry, 'Bearer old')).headers.get('www-authenticate') ?? '',
      new RegExp(registry.urls.elsewhere),
    );
    registry.switches.missing = 'token-403';
    assert.equal((await token(registry, 'scope=repository:no/such:pull')).status, 403);
    registry.switches.missing = '401-insufficient';
    const { token: empty } = await token(registry, 'scope=repository:no/such:pull');
    assert.equal((await manifest(registry, `Bearer ${empty}`, '/v2/no/such/manifests/v1')).status, 401);
    registry.switches.tokenPushAnon = '403';
    assert.equal((await token(registry, 'scope=repository:a/b:pull,push')).status, 403);
    registry.switches.tokenScope = 'no-delete';
    assert.equal((await token(registry, 'scope=repository:a/b:delete')).status, 400);
    registry.switches.tokenScope = 'first-only';
    const { token: first } = await token(registry, 'scope=repository:x:pull&scope=repository:a/b:pull');
    registry.switches.expired = '401';
    assert.equal((await manifest(registry, `Bearer ${first}`)).status, 401);
    const { token: good } = await token(registry, 'scope=repository:a/b:pull');
    assert.equal((await manifest(registry, `Bearer ${good}`)).status, 200);
    registry.switches.authLoop = true;
    assert.equal((await manifest(registry, `Bearer ${good}`)).status, 401);
  });

  it('answers tokens in the forms that are found', async (t) => {
    const registry = await start(t, { switches: { tokenField: 'access_token', tokenExpiry: 'none' } });
    assert.deepEqual(Object.keys(await token(registry, 'scope=repository:a/b:pull')), ['status', 'access_token']);
    registry.switches.tokenField = 'text-type';
    assert.match((await fetch(`${registry.url}/token`)).headers.get('content-type') ?? '', /^text\/html/);
  });

  it('checks Basic where that is the way, and refuses a wrong password even for public things', async (t) => {
    const registry = await start(t, { switches: { auth: 'basic' } });
    assert.equal((await manifest(registry)).status, 200);
    assert.equal((await manifest(registry, basic('alice', 'stale'))).status, 401);
    assert.equal((await manifest(registry, basic('alice', 'wonderland'))).status, 200);
    registry.switches.anonymousPull = false;
    assert.equal((await manifest(registry)).headers.get('www-authenticate'), 'Basic realm="stand-in"');
  });

  it('tells of a credential that reached a host without business', async (t) => {
    const registry = await start(t);
    await fetch(`${registry.urls.cdn}/x`);
    assert.deepEqual(registry.leaks(), []);
    await fetch(`${registry.urls.cdn}/x`, { headers: { authorization: 'Basic x' } });
    await fetch(`${registry.urls.elsewhere}/x?p=wonderland`);
    assert.equal(registry.leaks().length, 2);
  });
});
