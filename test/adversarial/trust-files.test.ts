/** Trust that is wrong in any way is an error with exit code 6 that names the file: never no trust, never somebody else's. */
import assert from 'node:assert/strict';
import { createECDH, generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { toPem } from '../../src/sign/pem.ts';
import { isWrite, journey, testKey } from '../support/command-journey.ts';
import { randomImage } from '../support/random-image.ts';

const pem = (
  type: 'spki' | 'pkcs8',
  make: () => { publicKey: { export(o: object): unknown }; privateKey: { export(o: object): unknown } },
) => {
  const pair = make();
  return String((type === 'spki' ? pair.publicKey : pair.privateKey).export({ format: 'pem', type }));
};
const ec = (namedCurve: string) => () => generateKeyPairSync('ec', { namedCurve });

/** The signer's own key with its point compressed: a second fingerprint for one key. */
function compressed(spki: string): string {
  const der = Buffer.from(spki.replace(/-----.*-----|\s/g, ''), 'base64');
  const point = createECDH('prime256v1');
  const short = Buffer.from(
    (point.constructor as unknown as typeof import('node:crypto').ECDH).convertKey(
      der.subarray(26),
      'prime256v1',
      undefined,
      undefined,
      'compressed',
    ) as Buffer,
  );
  return toPem('PUBLIC KEY', Buffer.concat([Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'), short]));
}

type Files = Readonly<Record<string, string | Buffer>>;
type Case = Readonly<{ files: Files; trust?: string[]; names: string; message?: RegExp }>;

function cases(good: string): Record<string, Case> {
  const key = (text: string | Buffer): Case => ({ files: { 'k.pub': text }, names: 'k.pub' });
  const settings = (text: string | Buffer): Case => ({
    files: { 'd/a.pub': good, 'd/trust.json': text },
    trust: ['d'],
    names: 'd',
  });
  return {
    'a path that is not there': { files: {}, trust: ['gone.pub'], names: 'gone.pub' },
    'an empty file': key(''),
    'white space': key(' \n\n'),
    'no PEM': key('hello'),
    'binary junk': key(Buffer.from([0, 1, 2, 255, 254])),
    'the DER form': key(Buffer.from(good.replace(/-----.*-----|\s/g, ''), 'base64')),
    'cut in half': key(good.slice(0, good.length / 2)),
    'no end line': key(good.replace(/-----END.*\n?/, '')),
    'one bit flipped': key(good.replace(/MFkw/, 'MFkx')),
    'a point that is not on the curve': key(good.replace(/.{10}==\n/, 'AAAAAAAAAA==\n')),
    'the point compressed': key(compressed(good)),
    'a private key': { ...key(pem('pkcs8', ec('prime256v1'))), message: /private key/ },
    'a private key beside the public one': key(good + pem('pkcs8', ec('prime256v1'))),
    'a certificate': key(good.replaceAll('PUBLIC KEY', 'CERTIFICATE')),
    'another curve': key(pem('spki', ec('secp384r1'))),
    'the curve of bitcoin': key(pem('spki', ec('secp256k1'))),
    'an RSA key': key(pem('spki', () => generateKeyPairSync('rsa', { modulusLength: 2048 }))),
    'an Ed25519 key': key(pem('spki', () => generateKeyPairSync('ed25519'))),
    'a good key and a broken one': key(`${good}-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n`),
    'more than the limit': key(`${good}${'#'.repeat(70_000)}`),
    'a directory without keys': { files: { 'd/readme.txt': 'x' }, trust: ['d'], names: 'd' },
    'a directory with a broken key beside a good one': {
      files: { 'd/a.pub': good, 'd/b.pub': 'x' },
      trust: ['d'],
      names: 'b.pub',
    },
    'a good path and a missing one': { files: { 'k.pub': good }, trust: ['k.pub', 'gone.pub'], names: 'gone.pub' },
    'trust.json empty': settings(''),
    'trust.json no JSON': settings('{threshold: 1}'),
    'trust.json a list': settings('[1]'),
    'trust.json without threshold': settings('{}'),
    'trust.json with a threshold of 0': settings('{"threshold": 0}'),
    'trust.json with a threshold of -1': settings('{"threshold": -1}'),
    'trust.json with a threshold of 1.5': settings('{"threshold": 1.5}'),
    'trust.json with a threshold of 1e400': settings('{"threshold": 1e400}'),
    'trust.json with a threshold in quotes': settings('{"threshold": "1"}'),
    'trust.json with a threshold of null': settings('{"threshold": null}'),
    'trust.json with more than there are keys': settings('{"threshold": 2}'),
    'trust.json with two thresholds': settings('{"threshold": 2, "threshold": 1}'),
    'trust.json with an unknown key': settings('{"threshold": 1, "revoked": []}'),
    'trust.json in UTF-16': settings(Buffer.from('\ufeff{"threshold": 1}', 'utf16le')),
    'trust.json with a byte order mark': settings('\ufeff{"threshold": 1}'),
    'trust.json nested deep': settings(`{"threshold": ${'['.repeat(5000)}${']'.repeat(5000)}}`),
    'trust.json of a megabyte': settings(`{"threshold": 1}${' '.repeat(1024 * 1024)}`),
    'one key twice for a threshold of two': {
      files: { 'd/a.pub': good, 'd/b.pub': good, 'd/trust.json': '{"threshold": 2}' },
      trust: ['d'],
      names: 'd',
    },
  };
}

it('trust that is wrong in any way is refused with exit code 6, naming the file, before the target hears anything', async (t) => {
  const j = await journey(t);
  await j.origins[0].put('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
  const manifest = await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`);
  assert.equal((await j.pull(manifest)).code, 0);
  const good = await readFile(j.key.pub, 'utf8');
  const all = cases(good);
  for (const [what, { files, trust = Object.keys(files), names, message }] of Object.entries(all)) {
    const root = j.path('trust');
    await rm(root, { recursive: true, force: true });
    for (const [name, text] of Object.entries(files)) {
      await mkdir(dirname(join(root, name)), { recursive: true });
      await writeFile(join(root, name), text);
    }
    const flags = trust.flatMap((path) => ['--trust', join(root, path)]);
    const ran = await j.load(...flags);
    assert.equal(ran.code, 6, `${what}: ${ran.stderr}`);
    assert.match(ran.stderr, /E_TRUST_FILE/, what);
    assert.ok(ran.stderr.includes(names), `${what}: ${names} is not named: ${ran.stderr}`);
    if (message !== undefined) assert.match(ran.stderr, message, what);
    assert.ok(!/BEGIN (EC )?PRIVATE/.test(ran.stderr), what);
  }
  assert.deepEqual(j.target.requests, []);
  t.diagnostic(`${Object.keys(all).length} kinds of wrong trust`);
});

it('a directory in the place of a key, a link into nothing and a sparse terabyte are refused at once', async (t) => {
  const j = await journey(t);
  const root = j.path('trust');
  await mkdir(join(root, 'd/x.pub'), { recursive: true });
  await symlink(join(root, 'nowhere'), j.path('link.pub'));
  await writeFile(j.path('huge.pub'), '');
  await truncate(j.path('huge.pub'), 1024 ** 4);
  for (const path of [join(root, 'd'), j.path('link.pub'), j.path('huge.pub')]) {
    const ran = await j.run(['verify', j.bundle, '--trust', path]);
    assert.equal(ran.code, 6, ran.stderr);
    assert.ok(ran.stderr.includes(path), ran.stderr);
  }
});

it('keys on the medium are not looked at, whatever they are called', async (t) => {
  const j = await journey(t);
  await j.origins[0].put('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
  const manifest = await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`);
  const attacker = testKey(j.dir, 'attacker');
  await j.pull(manifest, '--key', attacker.key);
  const generation = (await import('node:fs')).readdirSync(join(j.bundle, 'generations'))[0] as string;
  for (const place of [j.bundle, join(j.bundle, 'generations', generation)]) {
    for (const name of ['trust.pub', 'release.pub', `${j.key.keyid}.pub`])
      await writeFile(join(place, name), await readFile(attacker.pub));
    await writeFile(join(place, 'trust.json'), '{"threshold": 0}');
  }
  const ran = await j.load();
  assert.equal(ran.code, 6);
  assert.match(ran.stderr, /E_UNTRUSTED/);
  assert.deepEqual(j.target.requests.filter(isWrite), []);
});
