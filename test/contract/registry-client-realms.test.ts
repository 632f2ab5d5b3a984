import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { rejectsWith } from '../support/assert-code.ts';
import type { Switches } from '../support/fault-registry.ts';
import { aliceBasic, PRIVATE, PUBLIC, type Setup, setUp, staleBasic } from './registry-client-harness.ts';

const pull = ({ client, origin }: Setup) => client.getManifest(origin, 'a/b', 'v1');

describe('rule 6: where credentials may go', () => {
  const withRealm = (realmHost: Switches['realmHost']) => ({
    switches: { auth: 'bearer', realmHost } as const,
    urls: PUBLIC,
    credential: aliceBasic,
  });

  it('realm-host=other, a sister under the same domain: they go there', async (t) => {
    const setup = await setUp(t, withRealm('other'));
    assert.equal((await pull(setup)).digest, setup.image.digest);
    assert.match(setup.registry.seen('token', 'GET', 'token')[0]?.headers.authorization ?? '', /^Basic /);
  });

  it('realm-host=elsewhere, a stranger: nothing goes there, and the error names it', async (t) => {
    const setup = await setUp(t, withRealm('elsewhere'));
    const error = await rejectsWith(pull(setup), 'E_AUTH', /evil\.example/);
    assert.match(error.hint ?? '', /--allow-realm evil\.example/);
    assert.equal(setup.registry.seen(undefined, undefined, 'elsewhere').length, 0);
  });

  it('realm-host=elsewhere, named by the user: they go there', async (t) => {
    const setup = await setUp(t, { ...withRealm('elsewhere'), client: { allowRealms: ['evil.example'] } });
    await rejectsWith(pull(setup), 'E_AUTH');
    assert.match(setup.registry.seen('token', 'GET', 'elsewhere')[0]?.headers.authorization ?? '', /^Basic /);
  });

  for (const realmHost of ['private-ip', 'http', 'file'] as const) {
    it(`realm-host=${realmHost}: refused before anything is sent, with credentials and without`, async (t) => {
      for (const credential of [aliceBasic, undefined]) {
        const { credential: _, ...rest } = withRealm(realmHost);
        const setup = await setUp(t, { ...rest, ...(credential ? { credential } : {}) });
        await rejectsWith(pull(setup), 'E_AUTH');
        assert.deepEqual(setup.registry.leaks(), []);
        assert.equal(setup.registry.seen('token', undefined, 'plain').length, 0);
      }
    });
  }

  it('a token service that redirects to a private address or to http is not followed', async (t) => {
    for (const to of ['https://169.254.169.254/', `${PUBLIC.plain}/token`]) {
      const setup = await setUp(t, withRealm('same'));
      setup.registry.inject({ on: 'token', does: { kind: 'redirect', to } });
      const error = await pull(setup).then(
        () => undefined,
        (reason: { code: string }) => reason,
      );
      assert.match(error?.code ?? '', /^E_(AUTH|REDIRECT)$/);
      assert.deepEqual(setup.registry.leaks(), []);
    }
  });

  it('a token service that redirects to another host gets no password there', async (t) => {
    const setup = await setUp(t, withRealm('same'));
    setup.registry.inject({ on: 'token', does: { kind: 'redirect', to: `${PUBLIC.elsewhere}/token` } });
    await rejectsWith(pull(setup), 'E_AUTH');
    assert.deepEqual(setup.registry.leaks(), []);
  });

  it('realm-host=private-ip: link-local is refused even for a registry on a private address', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', realmHost: 'private-ip' }, urls: { registry: PRIVATE } });
    await rejectsWith(pull(setup), 'E_AUTH', /169\.254/);
  });
});

describe('stored credentials that are no longer good', () => {
  for (const staleCreds of ['401', '403'] as const) {
    it(`stale-creds with bearer (${staleCreds}): the error names where they come from, and nothing is retried anonymously in silence`, async (t) => {
      const setup = await setUp(t, { switches: { auth: 'bearer', staleCreds }, credential: staleBasic });
      const error = await rejectsWith(pull(setup), 'E_AUTH');
      assert.match(`${error.message} ${error.hint}`, /\/home\/alice\/config\.json/);
      assert.ok(!`${error.message} ${error.hint}`.includes(staleBasic.kind === 'basic' ? staleBasic.password : '-'));
      assert.equal(setup.registry.seen('token').length, 1, 'failed logins lock accounts');
    });
  }

  it('stale-creds with Basic: the same', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'basic', anonymousPull: false }, credential: staleBasic });
    const error = await rejectsWith(pull(setup), 'E_AUTH');
    assert.match(`${error.message} ${error.hint}`, /\/home\/alice\/config\.json/);
    assert.ok(setup.registry.requests.filter((r) => r.headers.authorization !== undefined).length <= 2);
  });

  it('stale-creds with Basic, eight requests at once: one finds out, and nobody sends them again', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'basic', anonymousPull: false }, credential: staleBasic });
    const all = await Promise.allSettled(Array.from({ length: 8 }, () => pull(setup)));
    for (const one of [...all, ...(await Promise.allSettled([pull(setup)]))])
      assert.equal(one.status === 'rejected' && one.reason.code, 'E_AUTH');
    assert.equal(setup.registry.requests.filter((r) => r.headers.authorization !== undefined).length, 1);
  });

  it('the right ones with Basic, eight requests at once: all go on, also when the first answer is lost', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'basic', anonymousPull: false }, credential: aliceBasic });
    let lost = false;
    setup.registry.onRequest((r) => {
      if (lost || r.headers.authorization === undefined) return;
      lost = true;
      setup.registry.inject({ on: 'manifest', does: { kind: 'reset' } });
    });
    const all = await Promise.all(Array.from({ length: 8 }, () => pull(setup)));
    assert.ok(all.every((m) => m.digest === setup.image.digest));
  });

  it('a token service that redirects to no URL at all is told by name', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer', realmHost: 'same' } });
    setup.registry.inject({ on: 'token', times: 9, does: { kind: 'redirect', to: 'https://[' } });
    await rejectsWith(pull(setup), 'E_REDIRECT', /not a URL/);
  });
});
