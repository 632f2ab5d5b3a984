/** The policies that `bundle policy podman` prints, before the real skopeo: it takes what our key signed and nothing else. */
import assert from 'node:assert/strict';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { legacyTag, type MadeBlob, mergeLegacy } from '../../src/cosign/legacy.ts';
import { signImage } from '../../src/cosign/sign-image.ts';
import { nodeFileSystem as fs } from '../../src/files/node-file-system.ts';
import { podmanPolicy } from '../../src/policy/podman.ts';
import { normalizeRequest, type PolicyRequest } from '../../src/policy/policy-request.ts';
import { createRegistryClient, type RegistryClient } from '../../src/registry/client.ts';
import { generateKeyPair } from '../../src/sign/generate.ts';
import { loadSigningKey } from '../../src/sign/private-key-source.ts';
import type { SigningKey } from '../../src/sign/signing-key.ts';
import { randomImage, randomIndex, type TestImage } from '../support/random-image.ts';
import { type Bundle, createBundle, type Outcome, writeManifest } from '../support/real/bundle.ts';
import { type Finished, must, run } from '../support/real/programs.ts';
import { type Registry, startRegistry } from '../support/real/registries.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { tool } from '../support/tools.ts';

const PASSWORD = 'interop only';
const scope = createSuiteScope();
let directory = '';
let registry: Registry;
let client: RegistryClient;
let runs = 0;
const keys: Record<'ours' | 'second' | 'stranger', SigningKey> = {} as never;
const at = (name: string): string => join(directory, name);
after(() => scope.end());

const pushBlob = (repository: string, { digest, bytes }: Pick<MadeBlob, 'digest' | 'bytes'>): Promise<unknown> =>
  client.pushBlob(registry.host, {
    repository,
    blob: { digest, size: bytes.length },
    read: async function* (start, end) {
      yield bytes.subarray(start, end);
    },
  });

async function pushImage(image: TestImage, repository: string): Promise<void> {
  for (const blob of image.blobs)
    await pushBlob(repository, { digest: blob.digest, bytes: Buffer.concat([...blob.read(0, blob.size)]) });
  for (const manifest of image.manifests) await client.putManifest(registry.host, repository, manifest.digest, manifest);
  await client.putManifest(registry.host, repository, '1', image.root);
}

/** As pull and load leave it: the index and each platform, under the name that upstream has. `about`: a liar signs another image. */
async function sign(image: TestImage, repository: string, key: SigningKey, reference: string, about = image): Promise<void> {
  const subjects = [about, ...about.children];
  for (const [i, { digest }] of [image, ...image.children].entries()) {
    const { layers, blobs } = await signImage(key, (subjects[i] as TestImage).descriptor, [reference], '2026-01-02T03:04:05Z');
    const merged = mergeLegacy(undefined, layers) ?? assert.fail('nothing to write');
    for (const blob of [...blobs, merged.config]) await pushBlob(repository, blob);
    await client.putManifest(registry.host, repository, legacyTag(digest, 'sig'), merged.manifest);
  }
}

/** Writes what would be printed for this request and lets a program read it. */
async function configure(change: Partial<PolicyRequest> = {}): Promise<{ policy: string; registries: string }> {
  const folder = at(`policy-${runs++}`);
  const target = { host: registry.host, prefix: '', plain: true };
  const request = { keys: [keys.ours.publicKey], targets: [target], origins: ['docker.io'], aliases: [], namespaces: [] };
  for (const { name, text } of podmanPolicy(normalizeRequest({ ...request, ...change }))) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  return { policy: join(folder, 'policy.json'), registries: join(folder, 'registries.d') };
}

async function skopeo(name: string, change?: Partial<PolicyRequest>, program = 'skopeo-sid'): Promise<Finished> {
  const { policy, registries } = await configure(change);
  const to = at(`copy-${runs++}`);
  const settings = ['--policy', policy, '--registries.d', registries, '--registries-conf', at('registries.conf')];
  const platform = ['--override-arch', 'amd64', '--override-os', 'linux'];
  const env = { HOME: directory, TMPDIR: directory };
  return run(tool(program), [...settings, ...platform, 'copy', '-q', `docker://${name}`, `dir:${to}`], { env });
}

async function takes(name: string, change?: Partial<PolicyRequest>): Promise<void> {
  const { code, stderr } = await skopeo(name, change);
  assert.equal(code, 0, `${name}: ${stderr}`);
}

async function refuses(name: string, why: RegExp, change?: Partial<PolicyRequest>): Promise<void> {
  const { code, stderr } = await skopeo(name, change);
  assert.notEqual(code, 0, `${name} was taken`);
  assert.match(stderr, why);
}

const NO_SIGNATURE = /A signature was required, but no signature exists/;

describe('policy podman, before skopeo 1.22', () => {
  const images: Record<string, TestImage> = {};
  const name = (repository: string): string => `${registry.host}/${repository}`;
  before(async () => {
    directory = await tempDir(scope, 'bundle-policies-');
    for (const key of ['ours', 'second', 'stranger'] as const) {
      await generateKeyPair(fs, at(key), PASSWORD);
      keys[key] = await loadSigningKey(fs, at(`${key}.key`), { env: { BUNDLE_KEY_PASSWORD: PASSWORD } });
    }
    registry = await startRegistry(scope, { kind: 'distribution 2.8' });
    client = createRegistryClient({ credentials: { find: async () => undefined }, plainHttp: [registry.host], environment: {} });
    scope.after(() => client.close());
    const mirror = `[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "${name('docker.io')}"\ninsecure = true\n`;
    await writeFile(at('registries.conf'), `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n${mirror}`);
    for (const repository of [
      'docker.io/team/ours',
      'airgap/docker.io/team/ours',
      'tools',
      'docker.io/team/stranger',
      'docker.io/team/none',
      'docker.io/team/cosign',
      'elsewhere/ours',
    ]) {
      const image = await randomIndex({ seed: runs++, bytes: 2000 });
      images[repository] = image;
      await pushImage(image, repository);
    }
    const signed = (repository: string, key: SigningKey, reference: string) =>
      sign(images[repository] as TestImage, repository, key, reference);
    await signed('docker.io/team/ours', keys.ours, 'docker.io/team/ours:1');
    await signed('airgap/docker.io/team/ours', keys.ours, 'docker.io/team/ours:1');
    await signed('tools', keys.ours, 'docker.io/team/tools:1');
    await signed('docker.io/team/stranger', keys.stranger, 'docker.io/team/stranger:1');
    await signed('elsewhere/ours', keys.ours, 'docker.io/team/ours:1');
  });

  it('takes an image that our key signed, by tag and by digest', async () => {
    await takes(name('docker.io/team/ours:1'));
    await takes(name(`docker.io/team/ours@${images['docker.io/team/ours']?.root.digest}`));
  });

  it('takes it below a path of the registry, which the policy names', async () => {
    await takes(name('airgap/docker.io/team/ours:1'), { targets: [{ host: registry.host, prefix: 'airgap/', plain: true }] });
    await refuses(name('airgap/docker.io/team/ours:1'), /rejected by policy/);
  });

  it('takes it under its own name, when registries.conf has our registry as a mirror', async () => {
    await takes('docker.io/team/ours:1');
    await refuses('docker.io/team/none:1', NO_SIGNATURE);
    await refuses('docker.io/team/stranger:1', /invalid signature|cryptographic signature verification failed/i);
  });

  it('takes an extra name of the manifest, and only with what was signed for it', async () => {
    const alias = { name: 'tools:1', ref: 'docker.io/team/tools:1' };
    await takes(name('tools:1'), { aliases: [alias] });
    await refuses(name('tools:1'), /does not match|not match|accept/i, {
      aliases: [{ ...alias, ref: 'docker.io/team/other:1' }],
    });
    await refuses(name('tools:1'), /rejected by policy/);
  });

  it('refuses an image that is unsigned, and one that another key signed', async () => {
    await refuses(name('docker.io/team/none:1'), NO_SIGNATURE);
    await refuses(name('docker.io/team/stranger:1'), /invalid signature|cryptographic signature verification failed/i);
  });

  it('podman 5.8 takes and refuses the same', async () => {
    const pull = async (image: string): Promise<Finished> => {
      const { policy, registries } = await configure();
      const home = at(`podman-${runs++}`);
      await cp(registries, join(home, '.config/containers/registries.d'), { recursive: true });
      const storage = ['--root', join(home, 'root'), '--runroot', join(home, 'run'), '--storage-driver', 'vfs'];
      const flags = ['--signature-policy', policy, '--os', 'linux', '--arch', 'amd64'];
      const settings = join(home, 'containers.conf');
      const runtime = `runtime = "crun"\n[engine.runtimes]\ncrun = ["${tool('crun-sid')}"]\n`;
      // Podman looks for it before it does anything; a pull never starts it.
      await writeFile(join(home, 'netavark'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });
      const helpers = `conmon_path = ["${tool('conmon-sid')}"]\nhelper_binaries_dir = ["${home}"]\n`;
      await writeFile(settings, `[engine]\n${helpers}${runtime}`);
      const env = {
        ...{ HOME: home, TMPDIR: home, XDG_RUNTIME_DIR: home },
        ...{ CONTAINERS_CONF: settings, CONTAINERS_REGISTRIES_CONF: at('registries.conf') },
      };
      return run(tool('podman-sid'), [...storage, 'pull', '-q', ...flags, image], { env });
    };
    // Without layers: to unpack one podman starts itself anew, which a program behind a loader of its own can't.
    const bare = await randomImage({ seed: 900, layers: 0 });
    await pushImage(bare, 'docker.io/team/bare');
    await sign(bare, 'docker.io/team/bare', keys.ours, 'docker.io/team/bare:1');
    for (const image of [name('docker.io/team/bare:1'), 'docker.io/team/bare:1']) {
      const { code, stderr } = await pull(image);
      assert.equal(code, 0, stderr);
    }
    for (const [image, why] of [
      [name('docker.io/team/none:1'), NO_SIGNATURE],
      [name('docker.io/team/stranger:1'), /invalid signature|cryptographic signature verification failed/i],
      [name('elsewhere/ours:1'), /rejected by policy/],
    ] as const) {
      const { code, stderr } = await pull(image);
      assert.notEqual(code, 0, image);
      assert.match(stderr, why);
    }
  });

  it('takes the signature of any of several keys', async () => {
    const both = { keys: [keys.ours.publicKey, keys.second.publicKey] };
    await takes(name('docker.io/team/ours:1'), both);
    await refuses(name('docker.io/team/stranger:1'), /invalid signature|cryptographic signature verification failed/i, both);
    await takes(name('docker.io/team/stranger:1'), { keys: [keys.second.publicKey, keys.stranger.publicKey] });
  });

  it('refuses a signed image under another name than the signed one, and other places and transports', async () => {
    await refuses(name('elsewhere/ours:1'), /rejected by policy/);
    const [ours, none] = [images['docker.io/team/ours'], images['docker.io/team/none']] as [TestImage, TestImage];
    await pushImage(ours, 'docker.io/team/renamed');
    await sign(ours, 'docker.io/team/renamed', keys.ours, 'docker.io/team/ours:1');
    await refuses(name('docker.io/team/renamed:1'), /does not match|not match|accept/i);
    await sign(none, 'docker.io/team/planted', keys.ours, 'docker.io/team/planted:1', ours);
    await pushImage(none, 'docker.io/team/planted');
    await refuses(name('docker.io/team/planted:1'), /digest/i);
    const { policy } = await configure();
    const local = await run(tool('skopeo-sid'), ['--policy', policy, 'copy', '-q', `dir:${at('no-such')}`, `dir:${at('to')}`], {
      env: { HOME: directory },
    });
    assert.match(local.stderr, /rejected by policy|no such file/);
  });

  it("takes what the real cosign signed with a key file of ours under upstream's name", async () => {
    const place = name('docker.io/team/cosign');
    const env = { HOME: directory, COSIGN_PASSWORD: PASSWORD };
    for (const { descriptor } of [
      images['docker.io/team/cosign'] as TestImage,
      ...(images['docker.io/team/cosign'] as TestImage).children,
    ]) {
      const flags = [
        '--key',
        at('ours.key'),
        '--tlog-upload=false',
        '--yes',
        '--sign-container-identity',
        'docker.io/team/cosign:1',
      ];
      await must(tool('cosign-2'), ['sign', ...flags, `${place}@${descriptor.digest}`], { env });
    }
    await takes(`${place}:1`);
    await takes('docker.io/team/cosign:1');
  });

  it('refuses everything in the skopeo of Debian 12, which has sigstore left out', async () => {
    const { code, stderr } = await skopeo(name('docker.io/team/ours:1'), {}, 'skopeo');
    assert.notEqual(code, 0);
    assert.match(stderr, /sigstore disabled/);
  });
});

describe('what is printed for a bundle that was pulled and loaded', () => {
  let bundle: Bundle;
  let target: Registry;
  let source: Registry;
  const home = (name: string): string => join(at('journey'), name);
  const succeed = async (outcome: Promise<Outcome>): Promise<string> => {
    const { code, stdout, stderr } = await outcome;
    assert.equal(code, 0, stderr);
    return stdout;
  };
  before(async () => {
    directory = await tempDir(scope, 'bundle-policies-');
    bundle = await createBundle(at('journey'));
    [source, target] = await Promise.all([
      startRegistry(scope, { kind: 'distribution 2.8' }),
      startRegistry(scope, { kind: 'distribution 2.8' }),
    ]);
    registry = source;
    client = createRegistryClient({ credentials: { find: async () => undefined }, plainHttp: [source.host], environment: {} });
    scope.after(() => client.close());
    await pushImage(await randomIndex({ seed: 77, bytes: 2000 }), 'team/app');
    await generateKeyPair(fs, home('release'), PASSWORD);
    await generateKeyPair(fs, home('stranger'), PASSWORD);
    await writeManifest(at('journey'), 'lumen', [{ ref: `${source.host}/team/app:1`, aliases: ['tools/app:1'] }]);
    await succeed(bundle(['pull', '--key', home('release.key'), '--plain-http', source.host]));
    const flags = [
      '--registry',
      target.host,
      '--plain-http',
      target.host,
      '--trust',
      home('release.pub'),
      '--state',
      home('state'),
    ];
    await succeed(bundle(['load', 'bundles/lumen', ...flags, '--skip-mirrors']));
  });

  it('by mirrors --print-verify: both cosigns verify each name with it, and with no other key', async () => {
    const flags = ['--endpoint', `http://${target.host}`, '--trust', home('release.pub'), '--state', home('state'), '--json'];
    const printed = JSON.parse(await succeed(bundle(['mirrors', 'bundles/lumen', '--print-verify', ...flags])));
    const commands: string[][] = printed.verify.map((line: { command: string[] }) => line.command.slice(1));
    assert.equal(commands.length, 2);
    const options = { cwd: at('journey'), env: { HOME: at('journey') } };
    for (const program of ['cosign', 'cosign-2']) {
      for (const command of commands) {
        const { code, stderr } = await run(tool(program), command, options);
        assert.equal(code, 0, `${program} ${command.join(' ')}: ${stderr}`);
        const other = command.map((word) => (word === home('release.pub') ? home('stranger.pub') : word));
        assert.notEqual((await run(tool(program), other, options)).code, 0);
      }
    }
  });

  it('by policy podman --bundle: skopeo takes each name at the registry, and another key makes it refuse', async () => {
    const get = (key: string, name: string) => {
      const flags = [
        '--policy',
        home(`${key}/policy.json`),
        '--registries.d',
        home(`${key}/registries.d`),
        '--override-arch',
        'amd64',
      ];
      const copy = [
        'copy',
        '-q',
        '--override-os',
        'linux',
        '--src-tls-verify=false',
        `docker://${target.host}/${name}`,
        `dir:${at(`got-${runs++}`)}`,
      ];
      return run(tool('skopeo-sid'), [...flags, ...copy], { env: { HOME: directory, TMPDIR: directory } });
    };
    const place = ['--endpoint', `http://${target.host}`];
    await succeed(
      bundle(['policy', 'podman', '--key', home('release.pub'), ...place, '--bundle', 'bundles/lumen', '-o', home('ours')]),
    );
    const theirs = ['--key', home('stranger.pub'), '--origin', source.host];
    await succeed(bundle(['policy', 'podman', ...theirs, ...place, '-o', home('theirs')]));
    const name = `${source.host.replace(':', '_')}/team/app:1`;
    for (const taken of [name, 'tools/app:1'])
      assert.equal((await get('ours', taken)).code, 0, (await get('ours', taken)).stderr);
    assert.match((await get('theirs', name)).stderr, /invalid signature|cryptographic signature verification failed/i);
  });
});
