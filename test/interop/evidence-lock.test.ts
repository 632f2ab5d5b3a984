/** What real cosign 3, cosign 2.5 and oras left beside an image, in a registry with the referrers API and in one without, and what the lock says of it. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import type { Evidence } from '../../src/core/evidence.ts';
import { fallbackTag } from '../../src/core/fallback-tag.ts';
import { type Ran, bundle as runBundle } from '../support/command-journey.ts';
import { clientOf } from '../support/journey.ts';
import { indexOf, randomImage, type TestImage } from '../support/random-image.ts';
import { type Clients, createClients } from '../support/real/clients.ts';
import { must } from '../support/real/programs.ts';
import { type Kind, type Registry, startRegistry } from '../support/real/registries.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { tool } from '../support/tools.ts';

const LOCKED = Date.parse('2026-11-21T08:00:00Z');
const CARRIED = 'linux/amd64';

async function push(host: string, name: string, image: TestImage): Promise<void> {
  const [repository, tag] = name.split(':') as [string, string];
  const client = clientOf([host]);
  try {
    for (const blob of image.blobs)
      await client.pushBlob(host, {
        repository,
        blob,
        read: async function* (start, end) {
          yield* blob.read(start, end);
        },
      });
    for (const m of image.manifests) await client.putManifest(host, repository, m === image.root ? tag : m.digest, m);
  } finally {
    await client.close();
  }
}

type Discovered = Readonly<{ digest: string; referrers?: readonly Discovered[] }>;
const referrersIn = ({ digest, referrers = [] }: Discovered): string[] =>
  referrers.flatMap((child) => [`${digest} ${child.digest}`, ...referrersIn(child)]);
const referrersOf = (evidence: readonly Evidence[]): string[] =>
  evidence.filter((e) => e.tag === undefined).map((e) => `${e.subject} ${e.digest}`);

for (const kind of ['distribution 2.8', 'olareg'] as const satisfies readonly Kind[]) {
  describe(`evidence in ${kind}, written by cosign and oras`, () => {
    const suite = createSuiteScope();
    let directory = '';
    let registry: Registry;
    let clients: Clients;
    let image: TestImage;
    let carried: TestImage;
    let left: TestImage;
    const at = (file: string): string => join(directory, file);
    const name = (reference: string): string => `${registry.host}/${reference}`;
    const byDigest = (one: TestImage): string => name(`team/app@${one.digest}`);
    const cosign = (program: 'cosign' | 'cosign-2', ...args: string[]): Promise<Buffer> =>
      must(tool(program), args, { env: { HOME: directory, COSIGN_PASSWORD: '' }, cwd: directory });
    const offline = (program: 'cosign' | 'cosign-2'): string[] => [
      ...['--yes', '--key', at('k.key'), '--tlog-upload=false'],
      ...(program === 'cosign' ? ['--use-signing-config=false'] : []),
    ];

    /** oras attach, and the digest of what it made. */
    async function attach(subject: string, artifactType: string, content: string): Promise<string> {
      await writeFile(at('attached.txt'), content);
      const flags = ['--artifact-type', artifactType, '--format', 'json', subject, 'attached.txt:text/plain'];
      const made = JSON.parse(await clients.oras(registry, ['attach'], flags, directory)) as { digest: string };
      return made.digest;
    }

    before(async () => {
      directory = await tempDir(suite, 'bundle-evidence-');
      registry = await startRegistry(suite, { kind });
      clients = await createClients({ directory: at('home'), registries: [registry] });
      const small = { layers: 1, files: 1, bytes: 500 };
      [carried, left] = await Promise.all([
        randomImage({ ...small, seed: 1, platform: CARRIED }),
        randomImage({ ...small, seed: 2, platform: 'linux/arm64' }),
      ]);
      image = indexOf([carried, left]);
      await push(registry.host, 'team/app:1', image);
      await push(registry.host, 'team/plain:1', carried);
      await cosign('cosign', 'generate-key-pair', '--output-key-prefix', 'k');
      await writeFile(at('sbom.json'), '{"spdxVersion":"SPDX-2.3"}');
      const attested = ['--type', 'spdxjson', '--predicate', at('sbom.json')];
      for (const one of [image, carried, left]) {
        await cosign('cosign', 'sign', ...offline('cosign'), byDigest(one));
        await cosign('cosign-2', 'sign', ...offline('cosign-2'), byDigest(one));
      }
      await cosign('cosign', 'attest', ...offline('cosign'), ...attested, byDigest(carried));
      await cosign('cosign-2', 'attest', ...offline('cosign-2'), ...attested, byDigest(carried));
      await cosign('cosign-2', 'attach', 'sbom', '--sbom', at('sbom.json'), '--type', 'spdx', byDigest(image));
      await cosign('cosign-2', 'sign', ...offline('cosign-2'), '--attachment', 'sbom', byDigest(image));
      const note = await attach(byDigest(image), 'application/vnd.example.sbom', 'what is in it');
      await attach(name(`team/app@${note}`), 'application/vnd.example.review', 'it was read');
      await cosign('cosign', 'sign', ...offline('cosign'), name(`team/app@${note}`));
      await cosign('cosign', 'copy', '--allow-http-registry', name('team/app:1'), name('copied/app:1'));
    });
    after(() => suite.end());

    async function lock(
      t: TestContext,
      references: readonly string[],
      ...flags: string[]
    ): Promise<Ran & { evidence(): Evidence[] }> {
      const folder = await tempDir(t, 'bundle-lock-');
      const file = join(folder, 'lumen.yaml');
      const images = references.map((reference) => JSON.stringify(name(reference))).join(', ');
      await writeFile(file, `apiVersion: bundle/v1\nname: lumen\nplatforms: [${CARRIED}]\nimages: [${images}]\n`);
      const env = { BUNDLE_PLAIN_HTTP: registry.host, HOME: folder };
      const ran = await runBundle(['lock', '-f', file, ...flags], { env, now: LOCKED });
      assert.equal(ran.code, 0, ran.stderr);
      const written = JSON.parse(await readFile(join(folder, 'lumen.lock.json'), 'utf8'));
      return { ...ran, evidence: () => written.items[0].evidence };
    }

    /** As crane lists them: each of cosign's tags about one of these subjects. */
    async function tagsIn(repository: string, subjects: ReadonlySet<string>): Promise<string[]> {
      const tags = (await clients.crane('ls', name(repository))).split('\n');
      const evidence = tags.filter((tag) => /^sha256-[0-9a-f]{64}\.(sig|att|sbom)$/.test(tag));
      return evidence.filter((tag) => subjects.has(tag.replace(/\..*/, '').replace('-', ':'))).sort();
    }

    it('is locked whole: every referrer that oras discovers and every tag that crane lists, and nothing else', async (t) => {
      const evidence = (await lock(t, ['team/app:1'])).evidence();
      const discovered = await Promise.all(
        [image, carried].map(async (one) => {
          const said = await clients.oras(registry, ['discover'], ['--format', 'json', byDigest(one)]);
          return { digest: one.digest, referrers: (JSON.parse(said) as Discovered).referrers ?? [] };
        }),
      );
      const referrers = discovered.flatMap(referrersIn);
      assert.deepEqual(referrersOf(evidence).sort(), [...new Set(referrers)].sort());
      // The index: cosign's bundle, the SBOM of oras and on it a review and a bundle; its platform: a signature and an attestation.
      assert.equal(referrers.length, 6);
      const subjects = new Set<string>([image.digest, carried.digest, ...evidence.map((e) => e.digest)]);
      const tags = evidence.flatMap((e) => (e.tag === undefined ? [] : [e.tag])).sort();
      assert.deepEqual(tags, await tagsIn('team/app', subjects));
      // Of the index a signature and an SBOM, which is signed; of the platform a signature and an attestation.
      assert.deepEqual(tags.map((tag) => tag.split('.')[1]).sort(), ['att', 'sbom', 'sig', 'sig', 'sig']);
      assert.ok(!evidence.some((e) => e.subject === left.digest));
    });

    it('has the digest, type and size of what is there', async (t) => {
      for (const e of (await lock(t, ['team/app:1'])).evidence()) {
        const bytes = await clients.skopeoRaw(name(`team/app@${e.digest}`));
        assert.equal(bytes.length, e.size, e.digest);
        assert.equal(JSON.parse(bytes.toString('utf8')).mediaType, e.mediaType);
        if (e.tag !== undefined) assert.equal(await clients.crane('digest', name(`team/app:${e.tag}`)), e.digest);
      }
    });

    it('is the same list in each run', async (t) => {
      assert.deepEqual((await lock(t, ['team/app:1'])).evidence(), (await lock(t, ['team/app:1'])).evidence());
    });

    it('is what there is in a copy made by "cosign copy", which tags the image itself as its list of referrers', async (t) => {
      assert.equal(await clients.crane('digest', name(`copied/app:${fallbackTag(image.digest)}`)), image.digest);
      const evidence = (await lock(t, ['copied/app:1'])).evidence();
      const tags = evidence.flatMap((e) => (e.tag === undefined ? [] : [e.tag])).sort();
      const subjects = new Set<string>([image.digest, carried.digest, ...evidence.map((e) => e.digest)]);
      assert.deepEqual(tags, await tagsIn('copied/app', subjects));
      assert.ok(tags.length > 0, 'cosign copy takes the signatures under tags along');
      assert.deepEqual(referrersOf(evidence), []);
    });

    it('is none where there is none', async (t) => {
      assert.deepEqual((await lock(t, ['team/plain:1'])).evidence(), []);
    });
  });
}
