/** Our signatures in cosign's two formats, at real registries, before the programs that read them: cosign 3 and 2, and skopeo for containers/image. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { type Digest, digestOf } from '../../src/core/digest.ts';
import { isBundleError } from '../../src/core/errors.ts';
import { fallbackTag } from '../../src/core/fallback-tag.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import { parseOciManifest } from '../../src/core/oci-manifest.ts';
import { encodeBundleReferrer, isBundleReferrer } from '../../src/cosign/bundle-referrer.ts';
import { mergeFallbackIndex } from '../../src/cosign/fallback-index.ts';
import { legacyTag, mergeLegacy, parseLegacy } from '../../src/cosign/legacy.ts';
import type { MadeBlob, MadeManifest } from '../../src/cosign/made.ts';
import { COSIGN_TYPE, SIGN_PREDICATE_TYPE } from '../../src/cosign/media-types.ts';
import { type SignedImage, signImage } from '../../src/cosign/sign-image.ts';
import { createSignatureCache } from '../../src/cosign/signature-cache.ts';
import { nodeFileSystem as fs } from '../../src/files/node-file-system.ts';
import { createRegistryClient, type RegistryClient } from '../../src/registry/client.ts';
import type { FetchedManifest } from '../../src/registry/manifests.ts';
import { generateKeyPair } from '../../src/sign/generate.ts';
import { loadSigningKey } from '../../src/sign/private-key-source.ts';
import type { SigningKey } from '../../src/sign/signing-key.ts';
import { randomIndex, type TestImage } from '../support/random-image.ts';
import { type Finished, run } from '../support/real/programs.ts';
import { type Kind, type Registry, startRegistry } from '../support/real/registries.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { tool } from '../support/tools.ts';

const PASSWORD = 'interop only';
const CREATED = '2026-01-02T03:04:05Z';
const ORIGIN = 'ghcr.io';
const scope = createSuiteScope();
const keys: Record<'ours' | 'second' | 'stranger', SigningKey> = {} as never;
let directory = '';
const at = (file: string): string => join(directory, file);

before(async () => {
  directory = await tempDir(scope, 'bundle-cosign-');
  for (const name of ['ours', 'second', 'stranger'] as const) {
    await generateKeyPair(fs, at(name), PASSWORD);
    keys[name] = await loadSigningKey(fs, at(`${name}.key`), { env: { BUNDLE_KEY_PASSWORD: PASSWORD } });
  }
});
after(() => scope.end());

const cosign = (program: 'cosign' | 'cosign-2', ...args: string[]): Promise<Finished> =>
  run(tool(program), args, { cwd: directory, env: { HOME: directory, COSIGN_PASSWORD: PASSWORD } });

const verify = (program: 'cosign' | 'cosign-2', key: keyof typeof keys, name: string, ...more: string[]): Promise<Finished> =>
  cosign(program, 'verify', '--key', at(`${key}.pub`), '--insecure-ignore-tlog', ...more, name);

/** Every way in which cosign reads our signatures: 3 takes the bundle, and the legacy one when told to; 2.5 knows the legacy one only. */
const READERS = [['cosign'], ['cosign', '--new-bundle-format=false'], ['cosign-2']] as const;

async function accepted(key: keyof typeof keys, name: string): Promise<void> {
  for (const [program, ...flags] of READERS) {
    const { code, stderr } = await verify(program, key, name, ...flags);
    assert.equal(code, 0, `${program} ${flags} ${name}: ${stderr}`);
  }
}

async function refused(key: keyof typeof keys, name: string): Promise<void> {
  for (const [program, ...flags] of READERS) {
    const { code, stderr } = await verify(program, key, name, ...flags);
    assert.notEqual(code, 0, `${program} ${flags} ${name}`);
    assert.match(stderr, /no matching (signatures|attestations)/);
  }
}

/** A referrer as an index lists it. */
function asListed({ mediaType, digest, bytes }: MadeManifest): Descriptor {
  const { artifactType, annotations } = JSON.parse(String(bytes));
  return { mediaType, digest, size: bytes.length, artifactType, annotations };
}

/** One repository of a registry, written by our own client. */
function writer(client: RegistryClient, host: string, repository: string) {
  const pushBlob = (blob: Pick<MadeBlob, 'digest' | 'bytes'>): Promise<unknown> =>
    client.pushBlob(host, {
      repository,
      blob: { digest: blob.digest, size: blob.bytes.length },
      read: async function* (start, end) {
        yield blob.bytes.subarray(start, end);
      },
    });
  const read = (reference: string): Promise<FetchedManifest | undefined> =>
    client.getManifest(host, repository, reference).catch((error: unknown) => {
      if (isBundleError(error) && error.code === 'E_NOT_FOUND') return undefined;
      throw error;
    });
  const put = (reference: string, manifest: MadeManifest) => client.putManifest(host, repository, reference, manifest);
  const pushLegacy = async (digest: Digest, signed: Pick<SignedImage, 'layers'>): Promise<boolean> => {
    const tag = legacyTag(digest, 'sig');
    const merged = mergeLegacy(await read(tag), signed.layers);
    if (merged === undefined) return false;
    await pushBlob(merged.config);
    await put(tag, merged.manifest);
    return true;
  };
  const pushReferrer = async (digest: Digest, { referrer }: Pick<SignedImage, 'referrer'>): Promise<boolean> => {
    await put(referrer.digest, referrer);
    const { api } = await client.listReferrers(host, repository, digest);
    if (api) return false;
    const bytes = mergeFallbackIndex(await read(fallbackTag(digest)), [asListed(referrer)]);
    if (bytes === undefined) return false;
    await put(fallbackTag(digest), { mediaType: MEDIA_TYPE.ociIndex, digest: digestOf(bytes), bytes });
    return true;
  };
  return {
    name: `${host}/${repository}`,
    read,
    async pushImage(image: TestImage, tag: string): Promise<void> {
      for (const blob of image.blobs) await pushBlob({ digest: blob.digest, bytes: Buffer.concat([...blob.read(0, blob.size)]) });
      for (const manifest of image.manifests) await put(manifest.digest, manifest);
      await put(tag, image.root);
    },
    /** What a load does with what we sign. */
    async pushSigned(digest: Digest, signed: SignedImage): Promise<void> {
      for (const blob of signed.blobs) await pushBlob(blob);
      await pushLegacy(digest, signed);
      await pushReferrer(digest, signed);
    },
    pushLegacy,
    pushReferrer,
    pushBlob,
    put,
  };
}

type Writer = ReturnType<typeof writer>;

const signAll = async (to: Writer, image: TestImage, key: SigningKey, references: readonly string[]): Promise<void> => {
  for (const { descriptor } of [image, ...image.children])
    await to.pushSigned(descriptor.digest, await signImage(key, descriptor, references, CREATED));
};

const bundlesOf = async (
  client: RegistryClient,
  to: Writer,
  host: string,
  repository: string,
  digest: Digest,
): Promise<number> => {
  const { descriptors } = await client.listReferrers(host, repository, digest);
  const manifests = await Promise.all(descriptors.map((d) => to.read(d.digest)));
  return manifests.filter((m) => m !== undefined && isBundleReferrer(parseOciManifest(m.bytes, m.mediaType, m.digest))).length;
};

const signByCosign3 = (key: string, name: string): Promise<Finished> =>
  cosign('cosign', 'sign', '--yes', '--tlog-upload=false', '--use-signing-config=false', '--key', at(`${key}.key`), name);
const signByCosign2 = (key: string, name: string): Promise<Finished> =>
  cosign('cosign-2', 'sign', '--yes', '--tlog-upload=false', '--key', at(`${key}.key`), name);
const wentWell = ({ code, stderr }: Finished): void => assert.equal(code, 0, stderr);

for (const kind of ['distribution 2.8', 'olareg'] as const satisfies Kind[]) {
  describe(`our signatures at ${kind}`, () => {
    let host = '';
    let client: RegistryClient;
    let image: TestImage;
    let other: TestImage;
    let repositories = 0;
    /** A repository of its own with `image` as v1. */
    const fresh = async (): Promise<Writer & { repository: string }> => {
      const repository = `ghcr.io/up/app${repositories++}`;
      const to = writer(client, host, repository);
      await to.pushImage(image, 'v1');
      return { ...to, repository };
    };

    before(async () => {
      ({ host } = await startRegistry(scope, { kind }));
      client = createRegistryClient({ credentials: { find: async () => undefined }, plainHttp: [host], environment: {} });
      scope.after(() => client.close());
      image = await randomIndex({ seed: 5, bytes: 5000 });
      other = await randomIndex({ seed: 6, bytes: 5000 });
    });

    it('pass cosign 3 and 2 by tag and by digest, for the index and for each platform, and no other key passes', async () => {
      const to = await fresh();
      await signAll(to, image, keys.ours, [`${to.repository}:v1`]);
      for (const name of [`${to.name}:v1`, ...[image, ...image.children].map(({ digest }) => `${to.name}@${digest}`)])
        await accepted('ours', name);
      await refused('stranger', `${to.name}:v1`);
    });

    it('say nothing about another image, even when they lie where its own would be', async () => {
      const to = await fresh();
      await to.pushImage(other, 'other');
      const signed = await signImage(keys.ours, image.descriptor, [`${to.repository}:v1`], CREATED);
      for (const blob of signed.blobs) await to.pushBlob(blob);
      await to.pushLegacy(other.digest, signed);
      const bundle = signed.blobs.find(({ descriptor }) => descriptor.mediaType === COSIGN_TYPE.bundle)?.bytes;
      assert.ok(bundle !== undefined);
      const planted = encodeBundleReferrer({
        subject: other.descriptor,
        bundle,
        predicateType: SIGN_PREDICATE_TYPE,
        created: CREATED,
      });
      await to.pushReferrer(other.digest, { referrer: planted.manifest });
      assert.equal(await bundlesOf(client, to, host, to.repository, other.digest), 1);
      await refused('ours', `${to.name}:other`);
    });

    it('by two keys stand in one .sig and as two bundles, and each passes', async () => {
      const to = await fresh();
      for (const key of [keys.ours, keys.second]) await signAll(to, image, key, [`${to.repository}:v1`]);
      const sig = await to.read(legacyTag(image.digest, 'sig'));
      assert.equal(sig && parseLegacy(sig.bytes, sig.mediaType, 'sig')?.layers.length, 2);
      for (const key of ['ours', 'second'] as const) await accepted(key, `${to.name}:v1`);
      await refused('stranger', `${to.name}:v1`);
    });

    it('join a .sig that cosign wrote, and cosign joins ours: all stay and pass, and there is nothing more to do', async () => {
      const to = await fresh();
      const name = `${to.name}@${image.digest}`;
      wentWell(await signByCosign2('second', name));
      const theirs = await to.read(legacyTag(image.digest, 'sig'));
      const signed = await signImage(keys.ours, image.descriptor, [`${to.repository}:v1`], CREATED);
      for (const blob of signed.blobs) await to.pushBlob(blob);
      assert.equal(await to.pushLegacy(image.digest, signed), true);
      wentWell(await signByCosign2('stranger', name));
      assert.equal(await to.pushLegacy(image.digest, signed), false);
      const sig = await to.read(legacyTag(image.digest, 'sig'));
      const layers = (manifest: FetchedManifest | undefined): unknown[] => JSON.parse(String(manifest?.bytes)).layers;
      assert.deepEqual(layers(sig).slice(0, 2), [...layers(theirs), ...signed.layers.map(({ json }) => json)]);
      assert.equal(layers(sig).length, 3);
      for (const key of ['ours', 'second', 'stranger'] as const) wentWell(await verify('cosign-2', key, `${to.name}:v1`));
    });

    it('have the very config that cosign gives a .sig of its own', async () => {
      const to = await fresh();
      wentWell(await signByCosign2('second', `${to.name}@${image.digest}`));
      const sig = await to.read(legacyTag(image.digest, 'sig'));
      assert.ok(sig !== undefined);
      const layers = parseLegacy(sig.bytes, sig.mediaType, 'sig')?.layers ?? [];
      assert.deepEqual(String(mergeLegacy(undefined, layers)?.manifest.bytes), String(sig.bytes));
    });

    it("stand beside a bundle of cosign 3's own, before and after: all are found and pass", async () => {
      const to = await fresh();
      const name = `${to.name}@${image.digest}`;
      wentWell(await signByCosign3('second', name));
      const before = (await client.listReferrers(host, to.repository, image.digest)).descriptors;
      const signed = await signImage(keys.ours, image.descriptor, [`${to.repository}:v1`], CREATED);
      await to.pushSigned(image.digest, signed);
      assert.equal(await to.pushReferrer(image.digest, signed), false);
      wentWell(await signByCosign3('stranger', name));
      const { descriptors } = await client.listReferrers(host, to.repository, image.digest);
      assert.deepEqual(
        descriptors.filter(({ digest }) => digest === before[0]?.digest),
        before,
      );
      assert.deepEqual(
        descriptors.find(({ digest }) => digest === signed.referrer.digest),
        asListed(signed.referrer),
      );
      assert.equal(await bundlesOf(client, to, host, to.repository, image.digest), 3);
      for (const key of ['ours', 'second', 'stranger'] as const) wentWell(await verify('cosign', key, `${to.name}:v1`));
    });

    it('sign the very statement that cosign 3 signs, with which its signature by the same key can be used again', async () => {
      const to = await fresh();
      wentWell(await signByCosign3('ours', `${to.name}@${image.digest}`));
      const [listed] = (await client.listReferrers(host, to.repository, image.digest)).descriptors;
      const manifest = listed && (await to.read(listed.digest));
      assert.ok(manifest !== undefined);
      const parsed = parseOciManifest(manifest.bytes, manifest.mediaType, 'referrer');
      assert.ok(isBundleReferrer(parsed));
      const [layer] = parsed.layers;
      assert.ok(layer !== undefined);
      const bundle = Buffer.concat(await Array.fromAsync(client.readBlob(host, to.repository, layer, 0)));
      const cache = createSignatureCache();
      cache.addBundle(bundle);
      const signed = await signImage(cache.wrap(keys.ours), image.descriptor, [], CREATED);
      const ours = JSON.parse(String(signed.blobs.at(-1)?.bytes));
      assert.deepEqual(ours.dsseEnvelope, JSON.parse(String(bundle)).dsseEnvelope);
    });
  });
}

describe('our signatures before containers/image', () => {
  let registry: Registry;
  let client: RegistryClient;
  let image: TestImage;
  before(async () => {
    registry = await startRegistry(scope, { kind: 'distribution 2.8' });
    client = createRegistryClient({ credentials: { find: async () => undefined }, plainHttp: [registry.host], environment: {} });
    scope.after(() => client.close());
    image = await randomIndex({ seed: 7, bytes: 5000 });
    await mkdir(at('registries.d'));
    await writeFile(at('registries.d/sigstore.yaml'), `docker:\n  ${registry.host}:\n    use-sigstore-attachments: true\n`);
  });

  /** Pulls under a policy that trusts `key` for what the registry mirrors of `ORIGIN`. */
  async function pull(name: string, key: keyof typeof keys = 'ours'): Promise<Finished> {
    const signedIdentity = { type: 'remapIdentity', prefix: `${registry.host}/${ORIGIN}`, signedPrefix: ORIGIN };
    const rule = { type: 'sigstoreSigned', keyPath: at(`${key}.pub`), signedIdentity };
    const policy = { default: [{ type: 'reject' }], transports: { docker: { [registry.host]: [rule] } } };
    await writeFile(at('policy.json'), JSON.stringify(policy));
    const flags = ['--policy', at('policy.json'), '--registries.d', at('registries.d'), '--override-arch', 'amd64'];
    const copy = ['copy', '-q', '--remove-signatures', '--src-tls-verify=false', `docker://${name}`, `dir:${at('pulled')}`];
    const env = { HOME: directory, TMPDIR: directory, XDG_RUNTIME_DIR: directory };
    return run(tool('skopeo-sid'), [...flags, ...copy], { env });
  }

  const isRejected = ({ code, stderr }: Finished, why: RegExp): void => {
    assert.notEqual(code, 0);
    assert.match(stderr, why);
  };

  /** Signed with one docker-reference throughout. @returns its names by tag, index digest and platform digest */
  async function signedAs(repository: string, reference: string): Promise<Record<'tag' | 'index' | 'platform', string>> {
    const to = writer(client, registry.host, repository);
    await to.pushImage(image, 'v1');
    await signAll(to, image, keys.ours, [reference]);
    const platform = image.children[0]?.digest;
    return { tag: `${to.name}:v1`, index: `${to.name}@${image.digest}`, platform: `${to.name}@${platform}` };
  }

  it('with the tag in docker-reference pass by tag and by digest, and with the key that signed only', async () => {
    const names = await signedAs('ghcr.io/with/tag', 'ghcr.io/with/tag:v1');
    for (const name of Object.values(names)) wentWell(await pull(name));
    isRejected(await pull(names.tag, 'stranger'), /invalid signature/i);
  });

  it('with a digest in docker-reference pass by any digest of the repository and not by a tag', async () => {
    const names = await signedAs('ghcr.io/with/digest', `ghcr.io/with/digest@${image.digest}`);
    for (const name of [names.index, names.platform]) wentWell(await pull(name));
    isRejected(await pull(names.tag), /identity .* is not accepted/);
  });

  it('with tag and digest in docker-reference pass by digest and not by the tag; with neither not at all', async () => {
    const both = await signedAs('ghcr.io/with/both', `ghcr.io/with/both:v1@${image.digest}`);
    wentWell(await pull(both.index));
    isRejected(await pull(both.tag), /identity .* is not accepted/);
    const neither = await signedAs('ghcr.io/with/neither', 'ghcr.io/with/neither');
    for (const name of Object.values(neither)) isRejected(await pull(name), /identity .* is not accepted/);
  });

  it('pass for each of two names of one image, each by a layer of its own', async () => {
    const to = writer(client, registry.host, 'ghcr.io/two/names');
    for (const tag of ['v1', 'latest']) await to.pushImage(image, tag);
    await signAll(to, image, keys.ours, ['ghcr.io/two/names:latest', 'ghcr.io/two/names:v1']);
    for (const tag of ['v1', 'latest']) wentWell(await pull(`${to.name}:${tag}`));
  });

  it('are not enough on the index alone, and nothing where they are about another image', async () => {
    const to = writer(client, registry.host, 'ghcr.io/index/only');
    await to.pushImage(image, 'v1');
    const signed = await signImage(keys.ours, image.descriptor, ['ghcr.io/index/only:v1'], CREATED);
    await to.pushSigned(image.digest, signed);
    isRejected(await pull(`${to.name}:v1`), /no signature exists/);
    for (const { digest } of image.children) await to.pushLegacy(digest, signed);
    isRejected(await pull(`${to.name}:v1`), /digest/i);
  });
});
