import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from '../support/assert-code.ts';
import { blobOf, randomImage } from '../support/random-image.ts';
import { ALICE, aliceBasic, pushBlob, readBlob, type Setup, setUp } from './registry-client-harness.ts';

const pull = ({ client, origin }: Setup, repository = 'a/b', tag = 'v1') => client.getManifest(origin, repository, tag);
const scopes = (setup: Setup) => setup.registry.seen('token').map((request) => request.query.getAll('scope').join(' '));

describe('rule 1: challenges are read by grammar', () => {
  for (const challenge of [
    'standard',
    'hub',
    'gar',
    'ghcr',
    'ecrpub',
    'gitea',
    'one-line',
    'escaped',
    'unquoted-scope',
    'realm-only',
  ] as const) {
    it(`challenge=${challenge}: pulls anonymously, and asks for the scope it needs`, async (t) => {
      const setup = await setUp(t, { switches: { auth: 'bearer', challenge } });
      assert.equal((await pull(setup)).digest, setup.image.digest);
      assert.equal(setup.registry.seen('token').length, 1);
      if (challenge !== 'ecrpub' && challenge !== 'gitea') assert.deepEqual(scopes(setup), ['repository:a/b:pull']);
    });
  }

  for (const challenge of ['nexus', 'ecr'] as const) {
    it(`challenge=${challenge}: sends Basic, once asked`, async (t) => {
      const setup = await setUp(t, { switches: { auth: 'basic', challenge, anonymousPull: false }, credential: aliceBasic });
      assert.equal((await pull(setup)).digest, setup.image.digest);
      assert.equal(setup.registry.requests[0]?.headers.authorization, undefined);
    });
  }

  it('challenge=nexus without credentials: says that none were found', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'basic', challenge: 'nexus', anonymousPull: false } });
    const error = await rejectsWith(pull(setup), 'E_AUTH', /none were found/);
    assert.match(error.hint ?? '', /log in/);
  });

  it('wa-on-200: a header on an answer that is no refusal is no challenge', async (t) => {
    const setup = await setUp(t, { switches: { waOn200: true } });
    await pull(setup);
    assert.equal(setup.registry.seen('token').length, 0);
  });

  it('wa-missing-on-repo: the challenge of /v2/ is asked for', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', waMissingOnRepo: true } });
    assert.equal((await pull(setup)).digest, setup.image.digest);
    assert.equal(setup.registry.seen('ping').length, 1);
  });
});

describe('rule 2: tokens', () => {
  for (const tokenField of ['both', 'token', 'access_token', 'text-type'] as const) {
    it(`token-field=${tokenField} is understood`, async (t) => {
      const setup = await setUp(t, { switches: { auth: 'bearer', tokenField } });
      assert.equal((await pull(setup)).digest, setup.image.digest);
    });
  }

  it('token-expiry=none: 60 seconds, then a new one before it is refused', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', tokenExpiry: 'none' } });
    await pull(setup);
    setup.clock.advance(30_000);
    await pull(setup);
    assert.equal(setup.registry.seen('token').length, 1);
    setup.clock.advance(26_000);
    setup.registry.clear();
    await pull(setup);
    assert.equal(setup.registry.seen('token').length, 1);
    assert.deepEqual(
      setup.registry.seen('manifest').map((r) => r.status),
      [200],
    );
  });

  it('token-expiry=1800 is believed', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', tokenExpiry: 1800 } });
    await pull(setup);
    setup.clock.advance(1_700_000);
    await pull(setup);
    assert.equal(setup.registry.seen('token').length, 1);
  });

  for (const tokenMethod of ['any', 'get-only', 'post-404'] as const) {
    it(`token-method=${tokenMethod}: an identity token goes by POST, and by GET where there is no POST`, async (t) => {
      const credential = { kind: 'identity', token: ALICE.identityToken, from: 'config.json' } as const;
      const setup = await setUp(t, { switches: { auth: 'bearer', tokenMethod }, credential });
      if (tokenMethod === 'any') assert.equal((await pull(setup)).digest, setup.image.digest);
      else await rejectsWith(pull(setup), 'E_AUTH'); // the stand-in does not take an identity token as a password
      const methods = setup.registry.seen('token').map((r) => r.method);
      assert.deepEqual([...new Set(methods)], tokenMethod === 'any' ? ['POST'] : ['POST', 'GET']);
    });
  }

  it('a token made outside goes out unchanged', async (t) => {
    const made = { token: '' };
    const credentials = { find: async () => ({ kind: 'registry', token: made.token, from: 'config.json' }) as const };
    const setup = await setUp(t, { switches: { auth: 'bearer' }, client: { credentials } });
    made.token = setup.registry.issueToken('a/b', ['pull']);
    assert.equal((await pull(setup)).digest, setup.image.digest);
    assert.equal(setup.registry.seen('token').length, 0);
  });

  it('one token serves many requests at once', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer' } });
    await pull(setup);
    setup.registry.expireTokens();
    setup.registry.clear();
    await Promise.all(Array.from({ length: 8 }, () => pull(setup)));
    assert.equal(setup.registry.seen('token').length, 1);
  });

  it('a token service that is out of order for a moment is asked again', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer' } });
    setup.registry.inject({ on: 'token', times: 2, does: { kind: 'answer', status: 503 } });
    assert.equal((await pull(setup)).digest, setup.image.digest);
  });

  it('a token service that limits requests is waited for', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer' } });
    setup.registry.inject({ on: 'token', does: { kind: 'answer', status: 429, headers: { 'retry-after': '3' } } });
    assert.equal((await pull(setup)).digest, setup.image.digest);
    assert.ok(setup.clock.slept.some((ms) => ms > 2000));
  });
});

describe('rule 3: fewer rights than asked', () => {
  it('401 for ever: ends in E_AUTH after a few requests', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', authLoop: true } });
    const error = await rejectsWith(pull(setup), 'E_AUTH', /a\/b:v1/);
    assert.equal(error.message.match(/UNAUTHORIZED/g)?.length, 1, error.message);
    assert.ok(setup.registry.requests.length <= 8, setup.registry.log().join('\n'));
  });

  for (const missing of ['404', '404-name', '401-insufficient', 'token-401', 'token-403'] as const) {
    it(`missing=${missing}: one error, no storm`, async (t) => {
      const setup = await setUp(t, { switches: { auth: 'bearer', missing } });
      const promise = pull(setup, 'no/such', 'v1');
      const error = await promise.then(
        () => undefined,
        (reason: { code: string }) => reason,
      );
      assert.equal(error?.code, missing.startsWith('404') ? 'E_NOT_FOUND' : 'E_AUTH');
      assert.ok(setup.registry.requests.length <= 6, setup.registry.log().join('\n'));
    });
  }

  it('only pull is asked for reading, so that token-push-anon=403 does not matter', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', tokenPushAnon: '403' } });
    await pull(setup);
    await readBlob(setup, 'a/b', setup.layer);
    assert.ok(scopes(setup).every((scope) => !scope.includes('push')));
  });

  it('delete is never asked (token-scope=no-delete)', async (t) => {
    const setup = await setUp(t, {
      switches: { auth: 'bearer', tokenScope: 'no-delete', location: 'other-host' },
      credential: aliceBasic,
    });
    await rejectsWith(pushBlob(setup, 'new/repo', blobOf('abc')), 'E_REDIRECT');
    assert.ok(scopes(setup).every((scope) => !scope.includes('delete')));
  });
});

describe('rule 4: tokens that end', () => {
  for (const expired of ['401', '400-nowa', '401-nowa', '401-other-realm'] as const) {
    it(`expired=${expired}: renewed once by the first challenge`, async (t) => {
      const setup = await setUp(t, { switches: { auth: 'bearer', expired, tokenExpiry: 3600 } });
      await pull(setup);
      setup.registry.expireTokens();
      setup.clock.advance(61_000);
      setup.registry.clear();
      assert.equal((await pull(setup)).digest, setup.image.digest);
      assert.equal(setup.registry.seen('token').length, 1);
      assert.equal(setup.registry.seen(undefined, undefined, 'elsewhere').length, 0);
    });
  }

  it('challenge=harbor-wrong: an expired Bearer is renewed as Bearer, although the refusal says Basic', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', challenge: 'harbor-wrong' } });
    await pull(setup);
    setup.registry.expireTokens();
    assert.equal((await pull(setup)).digest, setup.image.digest);
    assert.ok(setup.registry.requests.every((r) => !/^basic/i.test(r.headers.authorization ?? '')));
  });

  it('challenge=harbor-noproject: an empty challenge gives a clear error', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', challenge: 'harbor-noproject', missing: '401-insufficient' } });
    const error = await rejectsWith(pull(setup, 'no/such'), 'E_AUTH', /no\/such|without saying/);
    assert.notEqual(error.hint, undefined);
  });

  it('a token that ends between opening an upload and its end is renewed, and the upload goes on', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer' }, credential: aliceBasic });
    setup.registry.onRequest((record) => {
      if (record.method === 'PUT' && setup.registry.seen('upload', 'PUT').length === 1) setup.registry.expireTokens();
    });
    const blob = blobOf('x'.repeat(5000));
    assert.equal(await pushBlob(setup, 'new/repo', blob), 'pushed');
    assert.ok(setup.registry.hasBlob('new/repo', blob.digest));
    assert.equal(setup.registry.seen('upload', 'POST').length, 1, 'the session is the same');
  });
});

describe('rule 5: scopes', () => {
  it('a token of one repository is not used for another', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer' } });
    setup.registry.add('c/d', 'v1', await randomImage({ seed: 2 }));
    await pull(setup);
    await pull(setup, 'c/d');
    assert.deepEqual(scopes(setup), ['repository:a/b:pull', 'repository:c/d:pull']);
    const byRepository = (name: string) =>
      setup.registry
        .seen('manifest')
        .filter((r) => r.path.includes(name) && r.status === 200)
        .map((r) => r.headers.authorization);
    assert.notDeepEqual(byRepository('a/b'), byRepository('c/d'));
  });

  for (const tokenScope of ['all', 'first-only', 'space'] as const) {
    it(`token-scope=${tokenScope}: a mount asks for both repositories, and works or falls back`, async (t) => {
      const setup = await setUp(t, { switches: { auth: 'bearer', tokenScope }, credential: aliceBasic });
      const outcome = await pushBlob(setup, 'new/repo', setup.layer, { mountFrom: 'a/b' });
      assert.equal(outcome, tokenScope === 'first-only' ? 'pushed' : 'mounted');
      assert.ok(setup.registry.hasBlob('new/repo', setup.layer.digest));
    });
  }
});
