/** The Sigstore that other tests sign with, proved with the real cosign alone: what it signs verifies, nothing else does. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Clients, createClients } from '../support/real/clients.ts';
import { wayOf } from '../support/real/cosign-flags.ts';
import { pushPlainImage } from '../support/real/plain-image.ts';
import type { Finished } from '../support/real/programs.ts';
import { type Kind, type Registry, startRegistry } from '../support/real/registries.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import { type Signing, type Sigstore, startSigstore, type Verifying } from '../support/real/sigstore.ts';
import { tempDir } from '../support/temp-dir.ts';

const KINDS: readonly Kind[] = ['distribution 2.8', 'olareg'];

/** cosign's way of saying no: an exit code of its own, and why. */
function assertRefused({ code, stderr }: Finished, why: RegExp): void {
  assert.notEqual(code, 0, 'it said yes');
  assert.notEqual(code, null, 'it did not end');
  assert.match(stderr, why);
}

const assertVerified = ({ code, stderr }: Finished): void => assert.equal(code, 0, stderr);

describe('a keyless Sigstore on loopback', () => {
  const suite = createSuiteScope();
  let directory = '';
  let sigstore: Sigstore;
  let other: Sigstore;
  let registries: readonly Registry[] = [];
  let clients: Clients;
  let count = 0;

  /** A new image; `host/repository@sha256:…`. */
  const image = async (registry: Registry): Promise<string> => {
    count += 1;
    const repository = `team/app-${count}`;
    const digest = await pushPlainImage(registry, clients, join(directory, `image-${count}`), {
      name: `${repository}:1`,
      layerBytes: [1000],
    });
    return `${registry.host}/${repository}@${digest}`;
  };
  const signed = async (registry: Registry, options: Signing = {}): Promise<string> => {
    const ref = await image(registry);
    await sigstore.sign(ref, options);
    return ref;
  };

  before(async () => {
    directory = await tempDir(suite, 'bundle-sigstore-test-');
    sigstore = await startSigstore(suite);
    [other, registries] = await Promise.all([
      startSigstore(suite, { timestamps: sigstore.timestamps }),
      Promise.all(KINDS.map((kind) => startRegistry(suite, { kind }))),
    ]);
    clients = await createClients({ directory: join(directory, 'home'), registries });
  });
  after(() => suite.end());

  for (const [index, kind] of KINDS.entries()) {
    describe(`with ${kind}`, () => {
      const registry = (): Registry => registries[index] as Registry;
      let ref = '';
      before(async () => {
        ref = await signed(registry());
      });

      it('signs an image without a key, and verifies it by issuer and identity', async () => {
        assertVerified(await sigstore.verify(ref));
      });

      it('refuses another identity, another issuer, and the root of another Sigstore', async () => {
        const refused: readonly [Verifying, RegExp][] = [
          [{ identity: 'someone@example.test' }, /expected SAN value/],
          [{ identity: 'dev@example.tes' }, /expected SAN value/],
          [{ issuer: other.issuer }, /expected issuer value/],
          [{ root: other.services.root }, /not enough verified log entries|failed to verify/],
          [{ root: other.services.rootWithoutLog, args: ['--insecure-ignore-tlog'] }, /failed to verify/],
        ];
        for (const [options, why] of refused) assertRefused(await sigstore.verify(ref, options), why);
      });

      it('finds nothing on an image that nobody signed', async () => {
        assertRefused(await sigstore.verify(await image(registry())), /no signatures found/);
      });

      it('attests an SBOM, and verifies it by its type', async () => {
        const predicate = join(directory, 'sbom.json');
        await writeFile(predicate, JSON.stringify({ spdxVersion: 'SPDX-2.3', name: 'app', packages: [] }));
        const attested = await image(registry());
        await sigstore.attest(attested, { type: 'spdxjson', predicate });
        assertVerified(await sigstore.verifyAttestation(attested, { type: 'spdxjson' }));
        assertRefused(await sigstore.verifyAttestation(attested, { type: 'cyclonedx' }), /./);
        assertRefused(await sigstore.verifyAttestation(attested, { type: 'spdxjson', identity: 'someone@example.test' }), /./);
      });
    });
  }

  describe('each way to sign, and to verify', () => {
    const ways: readonly [string, (keyFile: string) => Signing, ...('cosign' | 'cosign-2')[]][] = [
      ['without a key and without a log, by the timestamp', () => ({ log: false }), 'cosign'],
      ['with a key and a log', (key) => ({ key }), 'cosign'],
      ['with a key and a timestamp', (key) => ({ key, log: false }), 'cosign'],
      ['with a key and no service at all', (key) => ({ key, timestamp: false }), 'cosign'],
      ['legacy, without a key, by the timestamp', () => ({ format: 'legacy' }), 'cosign', 'cosign-2'],
      ['legacy, with a key and a timestamp', (key) => ({ format: 'legacy', key }), 'cosign', 'cosign-2'],
      ['legacy, with a key alone', (key) => ({ format: 'legacy', key, timestamp: false }), 'cosign', 'cosign-2'],
      ['by cosign 2, without a key', () => ({ program: 'cosign-2' }), 'cosign', 'cosign-2'],
      ['by cosign 2, with a key alone', (key) => ({ program: 'cosign-2', key, timestamp: false }), 'cosign', 'cosign-2'],
    ];
    let key = '';
    let pub = '';
    let wrong = '';
    before(async () => {
      ({ key, pub } = await sigstore.keyPair('release'));
      wrong = (await sigstore.keyPair('wrong')).pub;
    });
    for (const [name, make, ...verifiers] of ways) {
      it(name, async () => {
        const options = make(key);
        const ref = await signed(registries[0] as Registry, options);
        const keyed = options.key !== undefined;
        for (const program of verifiers) {
          const verifying: Verifying = { ...options, format: wayOf(options).legacy ? 'legacy' : 'bundle', program };
          assertVerified(await sigstore.verify(ref, keyed ? { ...verifying, key: pub } : verifying));
          const bad = keyed ? { ...verifying, key: wrong } : { ...verifying, identity: 'someone@example.test' };
          assertRefused(await sigstore.verify(ref, bad), /./);
        }
      });
    }
  });

  it('signs as a program, whose identity is a URL', async () => {
    const workflow = 'org/app/.github/workflows/release.yaml@refs/tags/v1';
    const ref = await signed(registries[0] as Registry, { log: false, claims: { workflow } });
    const issuer = sigstore.workflowsIssuer;
    assertVerified(await sigstore.verify(ref, { log: false, issuer, identity: `${sigstore.issuer}/${workflow}` }));
    assertRefused(
      await sigstore.verify(ref, { log: false, issuer, identity: `${sigstore.issuer}/${workflow}2` }),
      /expected SAN value/,
    );
  });

  it('gives no certificate for a token for somebody else, of yesterday, or of an address that nobody checked', async () => {
    const ref = await image(registries[0] as Registry);
    for (const claims of [{ audience: 'another' }, { expiresIn: -60 }, { verified: false }]) {
      await assert.rejects(sigstore.sign(ref, { claims, log: false }), /identity/);
    }
    await assert.rejects(sigstore.sign(ref, { token: other.token(), log: false }), /identity/);
  });

  it('verifies when every service has stopped, and signs no more', async () => {
    const bundle = await signed(registries[1] as Registry);
    const legacy = await signed(registries[0] as Registry, { format: 'legacy' });
    await sigstore.stop();
    assertVerified(await sigstore.verify(bundle));
    assertVerified(await sigstore.verify(legacy, { format: 'legacy' }));
    await assert.rejects(sigstore.sign(bundle), /connection refused/);
  });
});
