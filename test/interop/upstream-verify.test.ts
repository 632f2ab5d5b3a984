/** Our verification of upstream's signatures against what the real cosign 2 and 3 leave in a registry. No network. */

import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ErrorCode } from '../../src/core/errors.ts';
import { nodeFileSystem as fs } from '../../src/files/node-file-system.ts';
import { loadPolicy, type VerifyPolicy } from '../../src/upstream/policy.ts';
import { parseSigstoreRoot, type SigstoreRoot } from '../../src/upstream/sigstore-root.ts';
import type { Verdict, VerifiedVerdict } from '../../src/upstream/verdict.ts';
import { verifyImage } from '../../src/upstream/verify-image.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { type Clients, createClients } from '../support/real/clients.ts';
import { type Collected, collectEvidence, tamper } from '../support/real/evidence.ts';
import { pushPlainImage } from '../support/real/plain-image.ts';
import { type Kind, type Registry, startRegistry } from '../support/real/registries.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import { type Signing, type Sigstore, startSigstore } from '../support/real/sigstore.ts';
import { tempDir } from '../support/temp-dir.ts';

const KINDS: readonly Kind[] = ['distribution 2.8', 'olareg'];
const SPDX = 'https://spdx.dev/Document';
const HOUR_MS = 3_600_000;

/** As far as the tests change it; what cosign writes has more. */
type LogEntry = Readonly<{ canonicalizedBody: string; inclusionProof: Readonly<{ checkpoint: Readonly<{ envelope: string }> }> }>;
type BundleJson = Readonly<{
  verificationMaterial: Readonly<{ tlogEntries: readonly LogEntry[]; timestampVerificationData?: unknown }>;
  dsseEnvelope: Readonly<{ payload: string }>;
}>;

const withMaterial = (bundle: BundleJson, material: Partial<BundleJson['verificationMaterial']>): BundleJson => ({
  ...bundle,
  verificationMaterial: { ...bundle.verificationMaterial, ...material },
});
const withEntries = (bundle: BundleJson, change: (entry: LogEntry) => LogEntry): BundleJson =>
  withMaterial(bundle, { tlogEntries: bundle.verificationMaterial.tlogEntries.map(change) });
const withCheckpoint = (entry: LogEntry, change: (envelope: string) => string): LogEntry => {
  const { inclusionProof } = entry;
  const envelope = change(inclusionProof.checkpoint.envelope);
  return { ...entry, inclusionProof: { ...inclusionProof, checkpoint: { ...inclusionProof.checkpoint, envelope } } };
};
const withPayload = ({ dsseEnvelope, ...rest }: BundleJson, change: (text: string) => string): BundleJson => {
  const text = Buffer.from(dsseEnvelope.payload, 'base64').toString('utf8');
  return { ...rest, dsseEnvelope: { ...dsseEnvelope, payload: Buffer.from(change(text)).toString('base64') } };
};

const CHANGES: Readonly<Record<string, (bundle: BundleJson) => BundleJson>> = {
  'the entry of the log': (bundle) => withEntries(bundle, (entry) => ({ ...entry, canonicalizedBody: 'e30=' })),
  'the checkpoint': (bundle) =>
    withEntries(bundle, (entry) => withCheckpoint(entry, (envelope) => envelope.replace(/\n\d+\n/, '\n99\n'))),
  'no entry': (bundle) => withMaterial(bundle, { tlogEntries: [] }),
  'no timestamp': (bundle) => withMaterial(bundle, { timestampVerificationData: { rfc3161Timestamps: [] } }),
  'what is signed': (bundle) => withPayload(bundle, (text) => text.replace('"predicate":{}', '"predicate":{"a":1}')),
};

type Asking = Readonly<{ policy: VerifyPolicy; root?: SigstoreRoot | undefined; now?: number }>;

const ask = (collected: Collected, { policy, root, now = Date.now() }: Asking): Promise<Verdict> =>
  verifyImage({ ...collected, ref: 'registry.example/team/app:1', policy, root, now });

async function asVerified(verdict: Promise<Verdict>): Promise<VerifiedVerdict> {
  const found = await verdict;
  assert.ok(found.result === 'verified', found.result);
  return found;
}

describe("upstream's signatures, made by the real cosign", () => {
  const suite = createSuiteScope();
  let directory = '';
  let sigstore: Sigstore;
  let other: Sigstore;
  let registries: readonly Registry[] = [];
  let clients: Clients;
  let count = 0;
  let key = '';
  let root: SigstoreRoot;
  let rootWithoutLog: SigstoreRoot;
  let pub = '';
  let byKey: VerifyPolicy;
  let byWrongKey: VerifyPolicy;
  let byIdentity: VerifyPolicy;

  /** A new image; `host/repository@sha256:…`. */
  const image = async (registry: Registry): Promise<string> => {
    count += 1;
    const repository = `team/app-${count}`;
    const place = join(directory, `image-${count}`);
    const digest = await pushPlainImage(registry, clients, place, { name: `${repository}:1`, layerBytes: [1000] });
    return `${registry.host}/${repository}@${digest}`;
  };
  const signed = async (options: Signing, registry = registries[0] as Registry): Promise<Collected> => {
    const ref = await image(registry);
    await sigstore.sign(ref, options);
    return collectEvidence(ref);
  };
  const attested = async (options: Signing, registry = registries[0] as Registry): Promise<Collected> => {
    const ref = await image(registry);
    const predicate = join(directory, 'sbom.json');
    await writeFile(predicate, JSON.stringify({ spdxVersion: 'SPDX-2.3', name: 'app', packages: [] }));
    await sigstore.attest(ref, { ...options, type: 'spdxjson', predicate });
    return collectEvidence(ref);
  };
  const keyless = (more: Partial<{ issuer: string; identity: string; attestation: string }> = {}): VerifyPolicy => ({
    kind: 'keyless',
    issuer: sigstore.issuer,
    identity: sigstore.identity,
    ...more,
  });
  const readRoot = async (file: string): Promise<SigstoreRoot> => parseSigstoreRoot(await readFile(file), file);

  before(async () => {
    directory = await tempDir(suite, 'bundle-upstream-verify-');
    sigstore = await startSigstore(suite);
    [other, registries] = await Promise.all([
      startSigstore(suite, { timestamps: sigstore.timestamps }),
      Promise.all(KINDS.map((kind) => startRegistry(suite, { kind }))),
    ]);
    clients = await createClients({ directory: join(directory, 'home'), registries });
    const [right, wrong] = await Promise.all([sigstore.keyPair('release'), sigstore.keyPair('wrong')]);
    ({ key, pub } = right);
    byKey = await loadPolicy(fs, { kind: 'key', keys: [{ path: pub }] });
    byWrongKey = await loadPolicy(fs, { kind: 'key', keys: [{ path: wrong.pub }] });
    byIdentity = keyless();
    root = await readRoot(sigstore.services.root);
    rootWithoutLog = await readRoot(sigstore.services.rootWithoutLog);
  });
  after(() => suite.end());

  for (const [index, kind] of KINDS.entries()) {
    describe(`in ${kind}: it takes`, () => {
      const registry = (): Registry => registries[index] as Registry;
      const keyed: readonly [string, Signing, VerifiedVerdict['format']][] = [
        ['a key signature of cosign 3', { timestamp: false }, 'bundle'],
        ['a key signature of cosign 3 in the log', {}, 'bundle'],
        ['a legacy key signature of cosign 3', { format: 'legacy', timestamp: false }, 'legacy'],
        ['a legacy key signature of cosign 2', { program: 'cosign-2', timestamp: false }, 'legacy'],
      ];
      for (const [name, options, format] of keyed) {
        it(`${name}, without a root`, async () => {
          const collected = await signed({ ...options, key }, registry());
          const verdict = await asVerified(ask(collected, { policy: byKey }));
          assert.equal(verdict.format, format);
          assert.ok(byKey.kind === 'key');
          assert.deepEqual(verdict.by, { key: byKey.keys[0]?.keyid });
        });
      }

      const identified: readonly [string, Signing, VerifiedVerdict['format'], () => SigstoreRoot][] = [
        ['a keyless bundle with log and timestamp', {}, 'bundle', () => root],
        ['a keyless bundle with a timestamp, by a root without logs', { log: false }, 'bundle', () => rootWithoutLog],
        ['a keyless legacy signature of cosign 3', { format: 'legacy' }, 'legacy', () => rootWithoutLog],
        ['a keyless legacy signature of cosign 2', { program: 'cosign-2' }, 'legacy', () => rootWithoutLog],
      ];
      for (const [name, options, format, by] of identified) {
        it(`${name}, also when the certificate has long expired`, async () => {
          const collected = await signed(options, registry());
          const verdict = await asVerified(ask(collected, { policy: byIdentity, root: by() }));
          assert.equal(verdict.format, format);
          assert.deepEqual(verdict.by, { issuer: sigstore.issuer, identity: sigstore.identity });
          assert.ok(verdict.signedAt !== undefined && Math.abs(Date.parse(verdict.signedAt) - Date.now()) < HOUR_MS);
          assert.equal(verdict.root, by().digest);
          const later = await ask(collected, { policy: byIdentity, root: by(), now: Date.now() + 1000 * HOUR_MS });
          assert.deepEqual(later, verdict);
        });
      }

      it('an SBOM as attestation where the policy asks for that, and not as a signature', async () => {
        const collected = await attested({}, registry());
        const verdict = await asVerified(ask(collected, { policy: keyless({ attestation: SPDX }), root }));
        assert.equal(verdict.format, 'bundle');
        await rejectsWith(ask(collected, { policy: byIdentity, root }), 'E_UNSIGNED');
        await rejectsWith(
          ask(collected, { policy: keyless({ attestation: 'https://slsa.dev/provenance/v1' }), root }),
          'E_UNSIGNED',
        );
      });

      it('an attestation of cosign 2 by key', async () => {
        const collected = await attested({ program: 'cosign-2', key, timestamp: false }, registry());
        const policy = await loadPolicy(fs, { kind: 'key', keys: [{ path: pub }], attestation: SPDX });
        const verdict = await asVerified(ask(collected, { policy }));
        assert.equal(verdict.format, 'attestation');
      });

      const keylessAttestations: readonly [string, Signing][] = [
        // Its timestamp is one of the signature, at which cosign's own verification fails.
        ['a keyless legacy attestation of cosign 3', { format: 'legacy' }],
        // Its timestamp is one of the whole envelope.
        ['a keyless attestation of cosign 2', { program: 'cosign-2' }],
      ];
      for (const [name, options] of keylessAttestations) {
        it(name, async () => {
          const collected = await attested(options, registry());
          const policy = keyless({ attestation: SPDX });
          const verdict = await asVerified(ask(collected, { policy, root: rootWithoutLog, now: Date.now() + HOUR_MS }));
          assert.equal(verdict.format, 'attestation');
          await rejectsWith(ask(collected, { policy: byIdentity, root: rootWithoutLog }), 'E_UNSIGNED');
        });
      }
    });
  }

  describe('it takes what a key signed that is', () => {
    const pem = {
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      publicKeyEncoding: { type: 'spki', format: 'pem' },
    } as const;
    const bundle: Signing = { timestamp: false };
    const legacy: Signing = { format: 'legacy', timestamp: false };
    const cosign2: Signing = { program: 'cosign-2', timestamp: false };
    const kinds: readonly [string, () => string, readonly Signing[]][] = [
      // cosign 3 signs with the hash of the curve's strength, cosign 2 with SHA-256.
      ['ECDSA P-384', () => generateKeyPairSync('ec', { namedCurve: 'P-384', ...pem }).privateKey, [bundle, legacy, cosign2]],
      ['RSA 2048', () => generateKeyPairSync('rsa', { modulusLength: 2048, ...pem }).privateKey, [bundle, cosign2]],
      // No bundle: cosign 3.1 refuses what it has just signed with such a key.
      ['Ed25519', () => generateKeyPairSync('ed25519', pem).privateKey, [legacy, cosign2]],
    ];
    for (const [kind, make, ways] of kinds) {
      it(kind, async () => {
        const pair = await sigstore.keyPair(kind.replace(' ', '-'), make());
        const policy = await loadPolicy(fs, { kind: 'key', keys: [{ path: pair.pub }] });
        for (const options of ways) {
          const collected = await signed({ ...options, key: pair.key });
          await asVerified(ask(collected, { policy }));
          await rejectsWith(ask(collected, { policy: byWrongKey }), 'E_UNTRUSTED');
        }
      });
    }
  });

  it('takes a program of any tag for a pattern that says so, and no other program', async () => {
    const at = `${sigstore.issuer}/org/app/.github/workflows/release.yaml@refs/tags/`;
    const policy = keyless({ issuer: sigstore.workflowsIssuer, identity: `${at}v*` });
    const signedBy = (workflow: string) => signed({ log: false, claims: { workflow } });
    const right = await signedBy('org/app/.github/workflows/release.yaml@refs/tags/v1.2.3');
    const verdict = await asVerified(ask(right, { policy, root: rootWithoutLog }));
    assert.deepEqual(verdict.by, { issuer: sigstore.workflowsIssuer, identity: `${at}v1.2.3` });
    for (const workflow of [
      'org/app/.github/workflows/release.yaml@refs/heads/v1',
      'org/app/.github/workflows/release.yaml@refs/tags/v1/x',
      'org/app-evil/.github/workflows/release.yaml@refs/tags/v1',
    ])
      await rejectsWith(ask(await signedBy(workflow), { policy, root: rootWithoutLog }), 'E_UNTRUSTED');
  });

  it('takes a key that has ended for what a timestamp says was signed before, and for nothing else', async () => {
    const until = Date.now() + HOUR_MS;
    const policy = await loadPolicy(fs, { kind: 'key', keys: [{ path: pub, until }] });
    const now = until + HOUR_MS;
    const stamped = await signed({ key });
    await asVerified(ask(stamped, { policy, root, now }));
    await rejectsWith(ask(stamped, { policy, now }), 'E_UNTRUSTED');
    await rejectsWith(ask(await signed({ key, timestamp: false }), { policy, root, now }), 'E_UNTRUSTED');
    const longAgo = await loadPolicy(fs, { kind: 'key', keys: [{ path: pub, until: Date.now() - HOUR_MS }] });
    await rejectsWith(ask(stamped, { policy: longAgo, root }), 'E_UNTRUSTED');
  });

  it('takes the right signature beside those of others, in both formats', async () => {
    const ref = await image(registries[0] as Registry);
    const more: readonly Signing[] = [
      { log: false, claims: { email: 'someone@example.test' } },
      { format: 'legacy', claims: { email: 'someone@example.test' } },
      { program: 'cosign-2', key, timestamp: false },
    ];
    for (const options of more) await sigstore.sign(ref, options);
    await rejectsWith(ask(await collectEvidence(ref), { policy: byIdentity, root: rootWithoutLog }), 'E_UNTRUSTED', /someone@/);
    await sigstore.sign(ref, { log: false });
    const collected = await collectEvidence(ref);
    await asVerified(ask(collected, { policy: byIdentity, root: rootWithoutLog }));
    await asVerified(ask(collected, { policy: byKey }));
  });

  describe('it refuses', () => {
    let bundle: Collected;
    let fast: Collected;
    let byKeyLegacy: Collected;
    before(async () => {
      bundle = await signed({});
      fast = await signed({ log: false });
      byKeyLegacy = await signed({ program: 'cosign-2', key, timestamp: false });
    });
    const refuses = (collected: Collected, asking: Asking, code: ErrorCode, message?: RegExp) =>
      rejectsWith(ask(collected, asking), code, message);

    it('what nobody signed', async () => {
      const collected = await collectEvidence(await image(registries[0] as Registry));
      await refuses(collected, { policy: byKey }, 'E_UNSIGNED');
      await refuses(collected, { policy: byIdentity, root }, 'E_UNSIGNED');
    });

    it('another issuer', async () => {
      for (const issuer of [other.issuer, `${sigstore.issuer}/`, sigstore.issuer.slice(0, -1)])
        await refuses(bundle, { policy: keyless({ issuer }), root }, 'E_UNTRUSTED');
    });

    it('an identity that only looks like the one asked for', async () => {
      for (const email of [
        'dev@example.test.evil.example',
        'adev@example.test',
        'dev@exampleXtest.example',
        'Dev@example.test',
      ]) {
        const collected = await signed({ log: false, claims: { email } });
        const message = new RegExp(email.replaceAll('.', '\\.'));
        await refuses(collected, { policy: byIdentity, root: rootWithoutLog }, 'E_UNTRUSTED', message);
        assert.equal((await ask(collected, { policy: keyless({ identity: email }), root: rootWithoutLog })).result, 'verified');
      }
    });

    it('the root of another Sigstore, of another log, and one that asks for a log where there is no entry', async () => {
      const theirs = await readRoot(other.services.root);
      const swapped = async (part: 'tlogs' | 'certificateAuthorities' | 'timestampAuthorities'): Promise<SigstoreRoot> => {
        const json = { ...root.json, [part]: part === 'timestampAuthorities' ? [] : theirs.json[part] };
        return parseSigstoreRoot(Buffer.from(JSON.stringify(json)), part);
      };
      await refuses(bundle, { policy: byIdentity, root: theirs }, 'E_SIGNATURE');
      for (const part of ['tlogs', 'certificateAuthorities', 'timestampAuthorities'] as const)
        await refuses(bundle, { policy: byIdentity, root: await swapped(part) }, 'E_SIGNATURE');
      await refuses(fast, { policy: byIdentity, root }, 'E_SIGNATURE');
    });

    it('the right log by a key that was retired before, or comes into use only later', async () => {
      for (const validFor of [
        { start: '2020-01-01T00:00:00Z', end: '2021-01-01T00:00:00Z' },
        { start: '2120-01-01T00:00:00Z' },
      ]) {
        const logs = (root.json.tlogs as { publicKey: object }[]).map((log) => ({
          ...log,
          publicKey: { ...log.publicKey, validFor },
        }));
        const changed = await parseSigstoreRoot(Buffer.from(JSON.stringify({ ...root.json, tlogs: logs })), 'retired');
        await refuses(bundle, { policy: byIdentity, root: changed }, 'E_SIGNATURE');
      }
    });

    for (const [what, change] of Object.entries(CHANGES)) {
      it(`a bundle in which somebody changed: ${what}`, async () => {
        await refuses(
          await tamper(bundle, (json: BundleJson) => {
            const changed = change(json);
            assert.notDeepEqual(changed, json);
            return changed;
          }),
          { policy: byIdentity, root },
          'E_SIGNATURE',
        );
      });
    }

    it('a certificate of ten minutes, when no timestamp says that it was signed within these', async () => {
      const collected = await signed({ format: 'legacy', timestamp: false });
      // Within its ten minutes, too: what is true only for a while is no verdict.
      for (const now of [Date.now(), Date.now() + HOUR_MS])
        await refuses(collected, { policy: byIdentity, root: rootWithoutLog, now }, 'E_SIGNATURE');
    });

    it('another key, and the right key where an identity is asked for', async () => {
      await refuses(byKeyLegacy, { policy: byWrongKey }, 'E_UNTRUSTED');
      await refuses(byKeyLegacy, { policy: byIdentity, root: rootWithoutLog }, 'E_UNTRUSTED');
      await refuses(bundle, { policy: byKey, root }, 'E_UNTRUSTED');
    });

    it('a signature of another image', async () => {
      const unsigned = await collectEvidence(await image(registries[0] as Registry));
      for (const [from, asking] of [
        [byKeyLegacy, { policy: byKey }],
        [bundle, { policy: byIdentity, root }],
      ] as const) {
        const moved = from.evidence.map((graph) => ({ ...graph, evidence: { ...graph.evidence, subject: unsigned.digest } }));
        await refuses({ ...from, digest: unsigned.digest, evidence: moved }, asking, 'E_SIGNATURE');
      }
    });
  });
});
