/** Rotations and approvals with the real cosign: ours verify with it, and what it makes counts here. No network. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { it } from 'node:test';
import { promisify } from 'node:util';
import { journey, readJson, testKey } from '../support/command-journey.ts';
import { randomImage } from '../support/random-image.ts';

const TOOLS = join(resolve(process.env.BUNDLE_TOOLS_DIR ?? join(import.meta.dirname, '../../.cache/tools')), 'bin');
const ROTATION = 'https://bundle.dev/trust-rotation/v1';
const run = promisify(execFile);
const options = (directory: string) => ({
  cwd: directory,
  env: { HOME: directory, COSIGN_PASSWORD: 'interop only' },
  timeout: 60_000,
});

it('each signature of a rotation verifies with cosign over the new trust.json, and over no other', async (t) => {
  const j = await journey(t);
  const make = async (name: string) =>
    assert.equal((await j.run(['keys', 'generate', '-o', j.path(name)], { env: { BUNDLE_KEY_PASSWORD: '' } })).code, 0);
  for (const name of ['anna', 'ben']) await make(name);
  const password = { env: { BUNDLE_KEY_PASSWORD: '' } };
  const trust = j.path('trust');
  const commands = [
    ['trust', 'init', trust, '--add', `anna=${j.path('anna.pub')}`],
    ['trust', 'init', j.path('other'), '--add', `ben=${j.path('ben.pub')}`],
    ['trust', 'rotate', trust, '--add', `ben=${j.path('ben.pub')}`, '-o', j.path('r.json'), '--key', j.path('anna.key')],
    ['trust', 'rotate', trust, '--apply', j.path('r.json')],
  ];
  for (const argv of commands) {
    const ran = await j.run(argv, password);
    assert.equal(ran.code, 0, ran.stderr);
  }
  writeFileSync(j.path('signature.json'), JSON.stringify(readJson(j.path('r.json')).signatures[0]));
  writeFileSync(j.path('root.json'), '{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}');
  const tools = ['cosign', 'cosign-2'].filter((tool) => existsSync(`${TOOLS}/${tool}`));
  assert.ok(tools.length > 0, `no cosign in ${TOOLS}`);
  for (const tool of tools) {
    const verify = (pub: string, file: string) =>
      run(
        `${TOOLS}/${tool}`,
        [
          ...['verify-blob-attestation', '--key', j.path(pub), '--bundle', j.path('signature.json'), '--type', ROTATION],
          ...['--insecure-ignore-tlog', '--new-bundle-format', '--trusted-root', j.path('root.json'), file],
        ],
        options(j.dir),
      );
    const { stdout, stderr } = await verify('anna.pub', join(trust, 'trust.json'));
    assert.match(stdout + stderr, /Verified OK/);
    await assert.rejects(verify('anna.pub', j.path('other/trust.json')));
    await assert.rejects(verify('ben.pub', join(trust, 'trust.json')));
  }
});

it('a bundle that a second person approved with cosign is added by "bundle sign --signature", and loads', async (t) => {
  const j = await journey(t);
  await run(`${TOOLS}/cosign`, ['generate-key-pair', '--output-key-prefix', 'ben'], options(j.dir));
  await j.origins[0].put('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
  const file = await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`);
  assert.equal((await j.pull(file)).code, 0);
  const trust = j.path('trust');
  const init = ['trust', 'init', trust, '--add', `release=${j.key.pub}`, '--add', `ben=${j.path('ben.pub')}`, '--threshold', '2'];
  assert.equal((await j.run(init)).code, 0);
  await run(
    `${TOOLS}/cosign`,
    [
      ...['attest-blob', '--yes', '--statement', join(j.bundle, 'bundle.json'), '--key', 'ben.key', '--bundle', 'approved.json'],
      ...['--use-signing-config=false', '--tlog-upload=false', join(j.bundle, 'index.json')],
    ],
    options(j.dir),
  );
  assert.equal((await j.load('--trust', trust)).code, 6);
  const added = await j.run(['sign', j.bundle, '--signature', j.path('approved.json'), '--trust', trust]);
  assert.equal(added.code, 0, added.stderr);
  assert.match(added.stdout, /2 signatures count, 2 needed: enough/);
  const loaded = await j.load('--trust', trust);
  assert.equal(loaded.code, 0, loaded.stderr);
});

it('the commands in docs/trust.md check a rotation and the statement of a bundle with cosign, as they stand there', async (t) => {
  const j = await journey(t);
  await j.origins[0].put('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
  const file = await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`);
  assert.equal((await j.pull(file)).code, 0);
  mkdirSync(j.path('bundles'));
  cpSync(j.bundle, j.path('bundles/lumen'), { recursive: true });
  cpSync(j.key.pub, j.path('anna.pub'));
  const trust = j.path('trust');
  for (const argv of [
    ['trust', 'init', trust, '--add', `anna=${j.path('anna.pub')}`],
    ['trust', 'rotate', trust, '--threshold', '1', '--add', `ben=${testKey(j.dir, 'ben').pub}`, '-o', j.path('rotation.json')],
    ['trust', 'rotate', '--sign', j.path('rotation.json'), '--key', j.key.key],
  ])
    assert.equal((await j.run(argv)).code, 0);
  const text = readFileSync(join(import.meta.dirname, '../../docs/trust.md'), 'utf8');
  const blocks = [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block]) => block as string);
  const found = blocks.filter((block) => block.includes('cosign verify-blob-attestation'));
  assert.equal(found.length, 2);
  mkdirSync(j.path('bin'));
  symlinkSync(`${TOOLS}/cosign`, j.path('bin/cosign'));
  const env = { HOME: j.dir, PATH: `${j.path('bin')}:/usr/bin:/bin` };
  const shell = (script: string) => run('sh', ['-e', '-c', script], { cwd: j.dir, env, timeout: 60_000 });
  for (const script of found) {
    const { stdout, stderr } = await shell(script);
    assert.match(stdout + stderr, /Verified OK/, script);
    await assert.rejects(shell(script.replace('--key anna.pub', '--key ben.pub')));
  }
});
