/**
 * What was signed at the origin verifies at the target after the whole journey, and so does what we signed: every form in which upstream signs, the
 * real cosign 2.5 and 3, registries with and without the referrers API. No consumer loses what it could verify before.
 */
import assert from 'node:assert/strict';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { randomIndex } from '../support/random-image.ts';
import { type Bundle, createBundle, writeManifest } from '../support/real/bundle.ts';
import { type Clients, createClients } from '../support/real/clients.ts';
import { succeed } from '../support/real/journey.ts';
import { pushPlainImage } from '../support/real/plain-image.ts';
import type { Finished } from '../support/real/programs.ts';
import { pushImage } from '../support/real/push-image.ts';
import { type Kind, type Registry, startRegistry } from '../support/real/registries.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import { type Signing, type Sigstore, startSigstore } from '../support/real/sigstore.ts';
import { tempDir } from '../support/temp-dir.ts';

type Program = 'cosign' | 'cosign-2';

/** Who verifies at the origin and at the target, and how. `key`: whose public key they were given. */
const CONSUMERS: readonly Readonly<{ name: string; program: Program; flags: readonly string[]; attestation?: boolean }>[] = [
  { name: 'cosign 3', program: 'cosign', flags: [] },
  { name: 'cosign 3, legacy', program: 'cosign', flags: ['--new-bundle-format=false'] },
  { name: 'cosign 2.5', program: 'cosign-2', flags: [] },
  { name: 'cosign 3, attestation', program: 'cosign', flags: [], attestation: true },
];

const KEYED: Signing = { log: false, timestamp: false };

const WAYS: Readonly<Record<string, (sign: Signer, ref: string) => Promise<void>>> = {
  legacy: (sign, ref) => sign.image(ref, 'upstream', 'legacy'),
  bundle: (sign, ref) => sign.image(ref, 'upstream', 'bundle'),
  both: async (sign, ref) => {
    await sign.image(ref, 'upstream', 'legacy');
    await sign.image(ref, 'upstream', 'bundle');
  },
  'sbom-only': (sign, ref) => sign.sbom(ref, 'upstream'),
  'foreign-provenance-and-legacy': async (sign, ref) => {
    await sign.image(ref, 'upstream', 'legacy');
    await sign.sbom(ref, 'stranger');
  },
  none: async () => undefined,
};

type Signer = Readonly<{
  image(ref: string, key: string, format: 'legacy' | 'bundle'): Promise<void>;
  sbom(ref: string, key: string): Promise<void>;
}>;

const DIRECTIONS: readonly Readonly<{ origin: Kind; target: Kind }>[] = [
  { origin: 'olareg', target: 'distribution 2.8' },
  { origin: 'distribution 2.8', target: 'olareg' },
];

const suite = createSuiteScope();
let directory = '';
let sigstore: Sigstore;
const keys = new Map<string, Readonly<{ key: string; pub: string }>>();
const pub = (name: string): string => keys.get(name)?.pub as string;

before(async () => {
  directory = await tempDir(suite, 'bundle-signatures-');
  sigstore = await startSigstore(suite);
  for (const name of ['upstream', 'stranger']) keys.set(name, await sigstore.keyPair(name));
});
after(() => suite.end());

function verify(consumer: (typeof CONSUMERS)[number], key: string, ref: string): Promise<Finished> {
  const command = consumer.attestation ? ['verify-attestation', '--type', 'spdxjson'] : ['verify'];
  return sigstore.cosign([...command, '--key', pub(key), '--insecure-ignore-tlog', ...consumer.flags, ref], consumer.program);
}

for (const { origin: originKind, target: targetKind } of DIRECTIONS) {
  describe(`from ${originKind} to ${targetKind}`, () => {
    const scope = createSuiteScope();
    let origin: Registry;
    let target: Registry;
    let clients: Clients;
    let bundle: Bundle;
    let carried = '';
    let loadFlags: string[] = [];
    const digests = new Map<string, string>();
    const verifiedBefore = new Set<string>();
    let platform = { index: '', child: '' };
    const targetName = (way: string): string => `${target.host}/${origin.host.replace(':', '_')}/team/${way}`;

    before(async () => {
      const home = join(directory, targetKind.replace(/\W/g, '-'));
      [origin, target] = await Promise.all([
        startRegistry(scope, { kind: originKind }),
        startRegistry(scope, { kind: targetKind, sparse: true }),
      ]);
      clients = await createClients({ directory: join(home, 'clients'), registries: [origin, target] });
      const predicate = join(directory, 'sbom.json');
      await writeFile(predicate, JSON.stringify({ SPDXID: 'SPDXRef-DOCUMENT', spdxVersion: 'SPDX-2.3', name: 'app' }));
      const signer: Signer = {
        image: (ref, key, format) => sigstore.sign(ref, { ...KEYED, key: keys.get(key)?.key as string, format }),
        sbom: (ref, key) => sigstore.attest(ref, { ...KEYED, key: keys.get(key)?.key as string, type: 'spdxjson', predicate }),
      };
      for (const [way, sign] of Object.entries(WAYS)) {
        const name = `team/${way}:1`;
        const digest = await pushPlainImage(origin, clients, join(home, way), { name, layerBytes: [1000] });
        digests.set(way, digest);
        await sign(signer, `${origin.host}/team/${way}@${digest}`);
        for (const consumer of CONSUMERS)
          for (const key of ['upstream', 'stranger'])
            if ((await verify(consumer, key, `${origin.host}/${name}`)).code === 0)
              verifiedBefore.add(`${consumer.name} ${key} ${way}`);
      }
      const index = await randomIndex({ seed: 77, layers: 1, platforms: ['linux/amd64', 'linux/arm64'] });
      await pushImage(origin, 'team/index', '1', index);
      platform = { index: index.digest, child: index.children[0]?.digest as string };
      await sigstore.sign(`${origin.host}/team/index@${index.digest}`, {
        ...KEYED,
        key: keys.get('upstream')?.key as string,
        args: ['--recursive'],
      });
      bundle = await createBundle(join(home, 'connected'));
      await succeed(bundle(['keys', 'generate', '-o', 'release', '--json']));
      keys.set('ours', { key: join(home, 'connected/release.key'), pub: join(home, 'connected/release.pub') });
      await writeManifest(join(home, 'connected'), 'journey', [
        ...Object.keys(WAYS).map((way) => `${origin.host}/team/${way}:1`),
        { ref: `${origin.host}/team/index:1`, platforms: ['linux/amd64'] },
      ]);
      await succeed(bundle(['pull', '--key', 'release.key', '--json', '--plain-http', origin.host]));
      carried = join(home, 'node-1/journey');
      await mkdir(join(home, 'node-1'), { recursive: true });
      await cp(join(home, 'connected/bundles/journey'), carried, { recursive: true });
      loadFlags = [
        '--registry',
        target.host,
        '--plain-http',
        target.host,
        '--trust',
        pub('ours'),
        '--state',
        join(home, 'state'),
        '--skip-mirrors',
      ];
      await succeed(bundle(['load', carried, '--json', ...loadFlags]));
    });
    after(() => scope.end());

    it('the origin is as the test means it: each form verifies for some consumer, and for nobody with a key that did not sign', () => {
      assert.ok(verifiedBefore.has('cosign 3 upstream legacy'));
      assert.ok(verifiedBefore.has('cosign 2.5 upstream legacy'));
      assert.ok(verifiedBefore.has('cosign 3 upstream bundle'));
      assert.ok(!verifiedBefore.has('cosign 2.5 upstream bundle'), 'cosign 2.5 reads no image bundles');
      assert.ok(verifiedBefore.has('cosign 3, attestation upstream sbom-only'));
      assert.ok(
        !verifiedBefore.has('cosign 3 upstream foreign-provenance-and-legacy'),
        'cosign 3 looks at bundles alone where there is one',
      );
      assert.ok(![...verifiedBefore].some((each) => each.endsWith(' none')));
    });

    for (const way of Object.keys(WAYS)) {
      it(`${way}: what verified at the origin verifies at the target, by tag and by digest`, async () => {
        for (const name of [`${targetName(way)}:1`, `${targetName(way)}@${digests.get(way)}`])
          for (const consumer of CONSUMERS)
            for (const key of ['upstream', 'stranger']) {
              const was = verifiedBefore.has(`${consumer.name} ${key} ${way}`);
              const { code, stderr } = await verify(consumer, key, name);
              if (was) assert.equal(code, 0, `${consumer.name}, key ${key}, ${name}: ${stderr}`);
              else assert.notEqual(code, 0, `${consumer.name}, key ${key}, ${name}: it verifies, and did not at the origin`);
            }
      });

      it(`${way}: ours verifies with cosign 3 and 2.5, by tag and by digest, and with no other key`, async () => {
        for (const name of [`${targetName(way)}:1`, `${targetName(way)}@${digests.get(way)}`])
          for (const consumer of CONSUMERS.slice(0, 3)) {
            const { code, stderr } = await verify(consumer, 'ours', name);
            assert.equal(code, 0, `${consumer.name}, ${name}: ${stderr}`);
          }
      });
    }

    it('an index, upstream signed on all levels: through a platform filter the tag verifies by ours, and both digests by upstream too', async () => {
      const child = platform.child;
      const original = `${targetName('index')}@${platform.index}`;
      for (const name of [`${targetName('index')}:1`, `${targetName('index')}@${child}`])
        for (const consumer of CONSUMERS.slice(0, 3))
          for (const key of consumer.name === 'cosign 2.5' ? ['ours'] : ['ours', 'upstream']) {
            if (consumer.name === 'cosign 3, legacy' && key === 'upstream') continue; // upstream signed as a bundle
            const { code, stderr } = await verify(consumer, key, name);
            assert.equal(code, 0, `${consumer.name}, key ${key}, ${name}: ${stderr}`);
          }
      // CNCF distribution takes no index with missing platforms; its signatures are there all the same.
      if (targetKind === 'olareg')
        for (const key of ['ours', 'upstream']) {
          const { code, stderr } = await verify(CONSUMERS[0] as (typeof CONSUMERS)[number], key, original);
          assert.equal(code, 0, stderr);
        }
    });

    it('a second load writes nothing', async () => {
      const { targets } = (await succeed(bundle(['load', carried, '--json', ...loadFlags]))) as {
        targets: { outcome: string }[];
      };
      assert.equal(targets[0]?.outcome, 'unchanged');
    });

    it('oras shows at the target what it showed at the origin, ours beside it, and the bundle in between shows the same', async () => {
      const tree = async (args: readonly string[], registry?: Registry): Promise<string[]> => {
        const text = await clients.oras(registry ?? origin, ['discover'], ['--format', 'json', ...args]);
        const found: string[] = [];
        const walk = (node: { digest: string; referrers?: { digest: string }[] }, path: string): void => {
          for (const child of node.referrers ?? []) {
            found.push(`${path} > ${child.digest}`);
            walk(child, child.digest);
          }
        };
        const root = JSON.parse(text) as { digest: string; referrers?: { digest: string }[] };
        walk(root, 'image');
        return found.sort();
      };
      for (const way of Object.keys(WAYS)) {
        const digest = digests.get(way);
        const atOrigin = await tree([`${origin.host}/team/${way}@${digest}`], origin);
        const atTarget = await tree([`${targetName(way)}@${digest}`], target);
        const inBundle = await tree(['--oci-layout', `${carried}@${digest}`]);
        assert.deepEqual(inBundle, atTarget, way);
        assert.deepEqual(
          atOrigin.filter((each) => !atTarget.includes(each)),
          [],
          way,
        );
        const ours = way === 'legacy' ? 0 : 1;
        assert.equal(atTarget.length, atOrigin.length + ours, way);
      }
    });
  });
}

describe("keyless, by a Sigstore of one's own", () => {
  const scope = createSuiteScope();
  let registry: Registry;
  let target: Registry;
  let bundle: Bundle;
  let home = '';
  let ref = '';

  before(async () => {
    home = join(directory, 'keyless');
    [registry, target] = await Promise.all([
      startRegistry(scope, { kind: 'olareg' }),
      startRegistry(scope, { kind: 'distribution 2.8' }),
    ]);
    const clients = await createClients({ directory: join(home, 'clients'), registries: [registry, target] });
    const digest = await pushPlainImage(registry, clients, join(home, 'image'), { name: 'team/app:1', layerBytes: [1000] });
    ref = `${registry.host}/team/app@${digest}`;
    await sigstore.sign(ref);
    bundle = await createBundle(join(home, 'connected'));
    await succeed(bundle(['keys', 'generate', '-o', 'release', '--json']));
  });
  after(() => scope.end());

  const manifest = async (issuer: string, identity: string, root: string): Promise<void> => {
    await mkdir(join(home, 'connected/manifests'), { recursive: true });
    await cp(root, join(home, 'connected/manifests/root.json'));
    const image = JSON.stringify({ ref: `${registry.host}/team/app:1`, verify: { keyless: { issuer, identity } } });
    const lines = ['apiVersion: bundle/v1', 'name: keyless', 'trustedRoot: root.json', `images: [${image}]`, ''];
    await writeFile(join(home, 'connected/manifests/keyless.yaml'), lines.join('\n'));
  };
  const pull = () => bundle(['pull', '--key', 'release.key', '--json', '--plain-http', registry.host]);

  it('another issuer, a look-alike identity and the root of another Sigstore are refused at pull, and nothing enters the bundle', async () => {
    const other = await startSigstore(scope, { timestamps: sigstore.timestamps });
    const { issuer, identity, services } = sigstore;
    for (const [asked, by, root] of [
      [`${issuer}/x`, identity, services.root],
      [issuer, identity.slice(1), services.root],
      [issuer, `${identity}.evil`, services.root],
      [issuer, identity.replace('.', 'x'), services.root],
      [issuer, identity, other.services.root],
    ] as const) {
      await manifest(asked, by, root);
      const { code, stderr, json } = await pull();
      assert.equal(code, 6, `${asked} ${by} ${root}: ${stderr}`);
      assert.ok(JSON.stringify(json()).includes(`${registry.host}/team/app:1`));
    }
  });

  it('issuer and identity verify at pull, and again at node-1 with every service stopped, by the real cosign too', async () => {
    const { issuer, identity, services } = sigstore;
    await manifest(issuer, identity, services.root);
    const pulled = await pull();
    assert.equal(pulled.code, 0, pulled.stderr);
    const carried = join(home, 'node-1/keyless');
    await mkdir(join(home, 'node-1'), { recursive: true });
    await cp(join(home, 'connected/bundles/keyless'), carried, { recursive: true });
    await Promise.all([sigstore.stop(), registry.server.stop()]);

    const trust = join(home, 'trust');
    await mkdir(trust);
    await cp(join(home, 'connected/release.pub'), join(trust, 'release.pub'));
    const policy = (issuerAsked: string, root: string): Promise<void> =>
      writeFile(
        join(trust, 'trust.yaml'),
        `policies: {"*": {keyless: {issuer: "${issuerAsked}", identity: "${identity}"}}}\ntrustedRoot: ${root}\n`,
      );
    const load = () =>
      bundle([
        'load',
        carried,
        '--json',
        '--registry',
        target.host,
        '--plain-http',
        target.host,
        '--trust',
        trust,
        '--state',
        join(home, 'state'),
        '--skip-mirrors',
      ]);
    await policy(`${issuer}/x`, 'fromBundle');
    const refused = await load();
    assert.equal(refused.code, 6, refused.stderr);
    await policy(issuer, 'fromBundle');
    const loaded = await load();
    assert.equal(loaded.code, 0, loaded.stderr);

    const deep = await succeed(bundle(['verify', carried, '--deep', '--json', '--trust', trust]));
    const [content] = deep.evidence as { upstream: { result: string; by: { identity: string }; root: string } }[];
    assert.equal(content?.upstream.result, 'verified');
    assert.equal(content?.upstream.by.identity, identity);

    const generation = (JSON.parse(await readFile(join(carried, 'bundle.json'), 'utf8')) as { predicate: { sequence: number } })
      .predicate.sequence;
    const root = join(carried, 'generations', String(generation), 'trusted_root.json');
    const at = `${target.host}/${registry.host.replace(':', '_')}/team/app:1`;
    const verified = await sigstore.verify(at, { root });
    assert.equal(verified.code, 0, verified.stderr);
    const ours = await sigstore.cosign([
      'verify',
      '--key',
      join(home, 'connected/release.pub'),
      '--insecure-ignore-tlog',
      '--trusted-root',
      root,
      at,
    ]);
    assert.equal(ours.code, 0, ours.stderr);
  });
});
