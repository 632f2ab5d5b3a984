import assert from 'node:assert/strict';
import { chmodSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { type Journey, journey, type Ran, testKey } from '../support/command-journey.ts';
import { randomImage, randomIndex } from '../support/random-image.ts';
import { tempDir } from '../support/temp-dir.ts';

const ENDPOINT = ['--endpoint', 'https://node-1:5000'];

/** A bundle of two origins; one image has an extra name at the target. */
async function pulled(t: TestContext, ...flags: string[]): Promise<Journey> {
  const j = await journey(t);
  const [one, two] = j.origins;
  await one.put('team/app', '1.0', await randomIndex({ seed: 1 }));
  await two.put('team/tools', '2', await randomImage({ seed: 2 }));
  const images = `images: [{ref: "${one.host}/team/app:1.0", aliases: ["app:1"]}, "${two.host}/team/tools:2"]`;
  const ran = await j.pull(await j.manifest('lumen', images), ...flags);
  assert.equal(ran.code, 0, ran.stderr);
  return j;
}

const policy = (j: Journey, ...argv: string[]): Promise<Ran> => j.run(['policy', ...argv]);
const out = (ran: Ran): string => {
  assert.equal(ran.code, 0, ran.stderr);
  return ran.stdout;
};
// biome-ignore lint/suspicious/noExplicitAny: what the YAML holds is what is looked at
const documents = (text: string): any[] => parseAllDocuments(text).map((document) => document.toJS());

describe('policy', () => {
  test('prints one for each consumer, the same each time, with the key and the name of the registry in it', async (t) => {
    const j = await journey(t);
    for (const consumer of ['kyverno', 'policy-controller', 'gatekeeper', 'flux', 'podman']) {
      const argv = [consumer, '--key', j.key.pub, ...ENDPOINT, '--origin', 'docker.io'];
      const text = out(await policy(j, ...argv));
      assert.match(text, /node-1:5000/);
      assert.equal(out(await policy(j, ...argv)), text);
      const { files } = (await policy(j, ...argv, '--json')).json();
      assert.ok(Object.values<string>(files).every((file) => text.includes(file)));
    }
  });

  test('for Gatekeeper needs no key: the two namespaces of the lumen platform and its one registry', async (t) => {
    const j = await journey(t);
    const argv = ['gatekeeper', '--endpoint', 'http://192.168.2.2:5000', '--namespace', 'lumen', '--namespace', 'default'];
    const [, constraint] = documents(out(await policy(j, ...argv)));
    assert.deepEqual(constraint.spec.parameters, { prefixes: ['192.168.2.2:5000/'] });
    assert.deepEqual(constraint.spec.match.namespaces, ['default', 'lumen']);
  });

  test('takes the path of an endpoint and of a registry for a part of the name', async (t) => {
    const j = await journey(t);
    const argv = ['--endpoint', 'https://harbor.corp/v2/airgap', '--registry', 'other.corp:5000/a/b'];
    const [, constraint] = documents(out(await policy(j, 'gatekeeper', ...argv)));
    assert.deepEqual(constraint.spec.parameters.prefixes, ['harbor.corp/airgap/', 'other.corp:5000/a/b/']);
  });

  test('writes into a file, or into a folder where there are several', async (t) => {
    const j = await journey(t);
    const file = j.path('new/kyverno.yaml');
    assert.equal(out(await policy(j, 'kyverno', '--key', j.key.pub, ...ENDPOINT, '-o', file)), `${file}\n`);
    assert.equal(documents(readFileSync(file, 'utf8'))[0].kind, 'ClusterPolicy');
    out(await policy(j, 'podman', '--key', j.key.pub, ...ENDPOINT, '--origin', 'quay.io', '-o', j.path('containers')));
    assert.ok(JSON.parse(readFileSync(j.path('containers/policy.json'), 'utf8')).transports.docker['quay.io']);
    assert.ok(existsSync(j.path('containers/registries.d/only-from-bundle.yaml')));
  });

  test('replaces no file that differs unless --force says so, and writes none when one is in the way', async (t) => {
    const j = await journey(t);
    for (const [consumer, where, name] of [
      ['podman', 'containers', 'containers/policy.json'],
      ['kyverno', 'kyverno.yaml', 'kyverno.yaml'],
    ] as const) {
      const [file, argv] = [
        j.path(name),
        [consumer, '--key', j.key.pub, ...ENDPOINT, '--origin', 'quay.io', '-o', j.path(where)],
      ];
      await mkdir(dirname(file), { recursive: true });
      writeFileSync(file, '{"default":[{"type":"insecureAcceptAnything"}]}\n');
      const refused = await policy(j, ...argv);
      assert.equal(refused.code, 2, refused.stderr);
      assert.ok(refused.stderr.includes(`${file} is there already and differs`), refused.stderr);
      assert.match(readFileSync(file, 'utf8'), /insecureAcceptAnything/);
      assert.ok(!existsSync(j.path('containers/registries.d')) || consumer !== 'podman');
      out(await policy(j, ...argv, '--force'));
      assert.doesNotMatch(readFileSync(file, 'utf8'), /insecureAcceptAnything/);
      assert.ok(out(await policy(j, ...argv)).startsWith(`${file} is up to date\n`));
      assert.deepEqual((await policy(j, ...argv, '--json')).json().written, []);
    }
  });

  test('follows no link to replace what is behind it, and takes no folder for a file', async (t) => {
    const j = await journey(t);
    writeFileSync(j.path('other'), 'other\n');
    symlinkSync(j.path('other'), j.path('link'));
    for (const [where, why] of [
      ['link', /link is there already/],
      ['.', /is no file/],
    ] as const) {
      const ran = await policy(j, 'kyverno', '--key', j.key.pub, ...ENDPOINT, '-o', j.path(where));
      assert.equal(ran.code, 2, ran.stderr);
      assert.match(ran.stderr, why);
    }
    assert.equal(readFileSync(j.path('other'), 'utf8'), 'other\n');
  });

  test('for podman without a name that upstream signed, which would refuse every image, is a usage error and writes nothing', async (t) => {
    const j = await journey(t);
    const ran = await policy(j, 'podman', '--key', j.key.pub, ...ENDPOINT, '-o', j.path('containers'));
    assert.equal(ran.code, 2, ran.stderr);
    assert.match(ran.stderr, /hint: add --bundle DIR.* or --origin/);
    assert.ok(!existsSync(j.path('containers')));
  });

  test('asks for a public key in words of its own', async (t) => {
    const j = await journey(t);
    const gone = await policy(j, 'kyverno', '--key', j.path('nope.pub'), ...ENDPOINT);
    assert.equal(gone.code, 6, gone.stderr);
    assert.match(gone.stderr, /--key \S+nope\.pub: no such file\n {2}hint: give the public key/);
    assert.doesNotMatch(gone.stderr, /ENOENT|--trust/);
    // Whatever this machine trusts.
    const stat = async (path: string) => (path === '/etc/bundle/trust' ? undefined : nodeFileSystem.stat(path));
    const none = await j.run(['policy', 'kyverno', ...ENDPOINT], { fs: { ...nodeFileSystem, stat } });
    assert.equal(none.code, 2, none.stderr);
    assert.match(none.stderr, /policy kyverno: no public key to check signatures with\n {2}hint: add --key/);
  });

  test('takes origins and extra names from a bundle that the key signed, and leaves it as it is', async (t) => {
    const j = await pulled(t);
    const { files } = (await policy(j, 'podman', '--key', j.key.pub, ...ENDPOINT, '--bundle', j.bundle, '--json')).json();
    const scopes = Object.keys(JSON.parse(files['policy.json']).transports.docker);
    const [one, two] = j.origins.map(({ host }) => host) as [string, string];
    const places = [one, two].map((host) => `node-1:5000/${host.replace(':', '_')}`);
    assert.deepEqual(scopes.sort(), [one, two, ...places, 'node-1:5000/app:1'].sort());
  });

  test('believes no bundle that another key signed, and no key that lies in the bundle', async (t) => {
    const j = await pulled(t);
    const other = testKey(j.dir, 'other');
    const stranger = await policy(j, 'kyverno', '--key', other.pub, ...ENDPOINT, '--bundle', j.bundle);
    assert.equal(stranger.code, 6, stranger.stderr);
    assert.match(stranger.stderr, /E_UNTRUSTED/);
    writeFileSync(join(j.bundle, 'signer.pub'), readFileSync(j.key.pub));
    const planted = await policy(j, 'kyverno', '--key', join(j.bundle, 'signer.pub'), ...ENDPOINT, '--bundle', j.bundle);
    assert.match(planted.stderr, /E_TRUST_FILE/);
    assert.equal(planted.stdout, '');
  });

  test('refuses a private key, and prints nothing of it', async (t) => {
    const j = await journey(t);
    const ran = await policy(j, 'kyverno', '--key', j.key.key, ...ENDPOINT);
    assert.equal(ran.code, 6);
    assert.match(ran.stderr, /private key[\s\S]*\.pub/);
    assert.equal(ran.stdout, '');
    assert.doesNotMatch(ran.stderr, /MI[GH]/);
  });

  test('leaves out keys that are revoked', async (t) => {
    const j = await journey(t);
    const [kept, gone] = [testKey(j.dir, 'kept'), testKey(j.dir, 'gone')];
    const trust = j.path('trust');
    const state = ['--state', j.path('state')];
    out(
      await j.run([
        'trust',
        'init',
        trust,
        '--add',
        `kept=${kept.pub}`,
        '--add',
        `gone=${gone.pub}`,
        '--threshold',
        '1',
        ...state,
      ]),
    );
    out(await j.run(['trust', 'remove', trust, 'gone', '--revoke', ...state]));
    const text = out(await policy(j, 'policy-controller', '--trust', trust, ...ENDPOINT));
    assert.match(text, new RegExp(`key-${kept.keyid.slice(0, 16)}`));
    assert.doesNotMatch(text, new RegExp(gone.keyid.slice(0, 16)));
  });

  test('says what is missing or wrong as a usage error', async (t) => {
    const j = await journey(t);
    for (const [argv, why] of [
      [['kyverno', '--key', j.key.pub], /--endpoint/],
      [['nothing', '--key', j.key.pub, ...ENDPOINT], /nothing/],
      [['gatekeeper', '--endpoint', 'node-1:5000'], /http/],
      [['gatekeeper', ...ENDPOINT, '--namespace', 'a\nb'], /namespace/],
      [['podman', '--key', j.key.pub, ...ENDPOINT, '--origin', 'http://x'], /reference/],
    ] as const) {
      const ran = await policy(j, ...argv);
      assert.ok(ran.code === 2 || ran.code === 3, ran.stderr);
      assert.match(ran.stderr, why);
    }
  });
});

describe('mirrors --print-verify', () => {
  const printed = async (j: Journey, ...argv: string[]): Promise<Ran> =>
    j.run(['mirrors', j.bundle, '--state', j.path('state'), '--print-verify', ...argv]);

  test('prints one cosign command per image and name at the registry, and writes nothing', async (t) => {
    const j = await pulled(t);
    const text = out(await printed(j, '--trust', j.key.pub, ...ENDPOINT, '--registries-yaml', j.path('registries.yaml')));
    const root = join(j.bundle, 'generations', (await sequenceOf(j)).toString(), 'trusted_root.json');
    const [one, two] = j.origins.map(({ host }) => host.replace(':', '_')) as [string, string];
    const names = [`${one}/team/app:1.0`, 'app:1', `${two}/team/tools:2`];
    const want = names.map(
      (name) => `cosign verify --key ${j.key.pub} --insecure-ignore-tlog --trusted-root ${root} node-1:5000/${name}`,
    );
    assert.deepEqual(text.trim().split('\n').sort(), want.sort());
    assert.ok(existsSync(root), 'the root that is named is there');
    assert.ok(!existsSync(j.path('registries.yaml')));
  });

  test('finds the file of the key that signed in a folder, says plain HTTP and the CA, and quotes odd paths', async (t) => {
    const j = await pulled(t);
    const folder = j.path("trusted keys'");
    testKey(j.dir, 'other');
    await j.run(['keys', 'generate', '-o', join(folder, 'a'), '--key-password-file', '/dev/null']);
    writeFileSync(join(folder, 'b.pub'), readFileSync(j.key.pub));
    const flags = ['--trust', folder, '--endpoint', 'http://node-1:5000', '--ca-file', '/etc/ca.crt'];
    const quoted = `'${join(folder, 'b.pub').replace("'", "'\\''")}'`;
    const [line = ''] = out(await printed(j, ...flags)).split('\n');
    assert.ok(line.startsWith(`cosign verify --key ${quoted} `), line);
    assert.match(line, / --allow-http-registry --registry-cacert \/etc\/ca\.crt node-1:5000\//);
    const { verify } = (await printed(j, ...flags, '--json')).json();
    assert.deepEqual(verify[0].command.slice(0, 4), ['cosign', 'verify', '--key', join(folder, 'b.pub')]);
  });

  test('without a registry, or without a key to name, is a usage error', async (t) => {
    const j = await pulled(t);
    assert.match((await printed(j, '--trust', j.key.pub)).stderr, /--endpoint/);
    const skipped = await printed(j, '--insecure-skip-signature', ...ENDPOINT);
    assert.equal(skipped.code, 2, skipped.stderr);
  });
});

async function sequenceOf(j: Journey): Promise<number> {
  return (await j.run(['inspect', j.bundle, '--json'])).json().sequence;
}

describe('pull --key exec:', () => {
  test('signs with the key that a program holds, and what it made is loaded by its public key', async (t) => {
    const document = readFileSync(join(import.meta.dirname, '../../docs/signer-protocol.md'), 'utf8');
    const [, script = ''] = /```bash\n(.*?)```/s.exec(document) ?? [];
    const program = join(await tempDir(t, 'bundle-signer-'), 'sign with openssl');
    writeFileSync(program, script);
    chmodSync(program, 0o755);
    const j = await journey(t);
    await j.origins[0].put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const file = await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`);
    const key = `exec:${JSON.stringify([program, j.key.key])}`;
    const ran = await j.run(['pull', '-f', file, '-o', j.bundle, '--key', key], { env: { PATH: process.env.PATH } });
    assert.equal(ran.code, 0, ran.stderr);
    const verified = await j.run(['verify', j.bundle, '--trust', j.key.pub]);
    assert.equal(verified.code, 0, verified.stderr);
  });

  test('that fails fails the pull, with what the program said, and commits nothing', async (t) => {
    const j = await journey(t);
    await j.origins[0].put('team/app', '1.0', await randomIndex({ seed: 1 }));
    const file = await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`);
    const program = j.path('sign');
    writeFileSync(program, '#!/bin/sh\necho "the token is locked" >&2\nexit 5\n', { mode: 0o755 });
    const ran = await j.run(['pull', '-f', file, '-o', j.bundle, '--key', `exec:${program}`], {
      env: { PATH: process.env.PATH },
    });
    assert.equal(ran.code, 6, ran.stderr);
    assert.match(ran.stderr, /ended with 5, saying: the token is locked/);
    assert.ok(!existsSync(join(j.bundle, 'bundle.json')));
  });
});
