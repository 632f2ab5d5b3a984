/** Every command that signs takes every kind of key, and ends the programs that it started for one. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { encryptPrivateKey } from '../../src/sign/key-file.ts';
import { type Journey, journey, testKey } from '../support/command-journey.ts';
import { randomImage } from '../support/random-image.ts';
import { freshKey } from '../unit/sign/test-keys.ts';

/** `--key` of a program in JavaScript, and the file of that program. */
async function program(j: Journey, source: string): Promise<string> {
  const file = j.path('signer.mjs');
  await writeFile(file, source);
  return `exec:${JSON.stringify([process.execPath, file])}`;
}

/** A program that signs with the key in a file. */
const signerWith = (j: Journey, key: string): Promise<string> =>
  program(
    j,
    `import { createPrivateKey, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { p256 } from ${JSON.stringify(import.meta.resolve('@noble/curves/nist.js'))};
const key = createPrivateKey(readFileSync(${JSON.stringify(key)}));
const [question] = process.argv.slice(2);
if (question === 'public-key') process.stdout.write(createPublicKey(key).export({ format: 'pem', type: 'spki' }));
else {
  const digest = Buffer.from(readFileSync(0, 'utf8').trim(), 'hex');
  const secret = Buffer.from(key.export({ format: 'jwk' }).d, 'base64url');
  process.stdout.write(Buffer.from(p256.sign(digest, secret, { prehash: false, format: 'der' })).toString('base64'));
}
`,
  );

describe('a key that a program holds, and one in a variable with its password in a file', () => {
  it('sign and trust rotate take both at once', async (t) => {
    const j = await journey(t);
    const anna = testKey(j.dir, 'anna');
    const ben = freshKey();
    await writeFile(j.path('ben.pub'), ben.publicKey.pem);
    await writeFile(j.path('password'), 'secret\n');
    const env = { BEN_KEY: await encryptPrivateKey(ben.keyObject.export({ format: 'der', type: 'pkcs8' }), 'secret') };
    const flags = ['--key', await signerWith(j, anna.key), '--key', 'env://BEN_KEY', '--key-password-file', j.path('password')];
    const ok = async (...argv: string[]) => {
      const ran = await j.run([...argv, '--json'], { env });
      assert.equal(ran.code, 0, `${argv.join(' ')}: ${ran.stderr}`);
      return ran.json();
    };

    await j.origins[0].put('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
    const pulled = await j.pull(await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`));
    assert.equal(pulled.code, 0, pulled.stderr);
    const approved = await ok('sign', j.bundle, ...flags);
    assert.deepEqual([...approved.added].sort(), [anna.keyid, ben.publicKey.keyid].sort());

    const [trust, rotation] = [j.path('trust'), j.path('rotation.json')];
    await ok('trust', 'init', trust, '--add', `anna=${anna.pub}`, '--add', `ben=${j.path('ben.pub')}`, '--threshold', '2');
    await ok('trust', 'rotate', trust, '--add', `release=${j.key.pub}`, '-o', rotation);
    await ok('trust', 'rotate', '--sign', rotation, ...flags);
    assert.equal((await ok('trust', 'rotate', trust, '--apply', rotation)).version, 2);
  });
});

describe('pull that fails early', () => {
  it('ends the program that was asked for its key meanwhile', { timeout: 30_000 }, async (t) => {
    const j = await journey(t);
    // The manifest is a pipe that the program writes: it is wrong, and it is read while the program runs.
    const file = j.path('manifests', 'lumen.yaml');
    await mkdir(j.path('manifests'));
    execFileSync('mkfifo', [file]);
    const key = await program(
      j,
      `import { writeFileSync } from 'node:fs';
writeFileSync(${JSON.stringify(j.path('pid'))}, String(process.pid));
writeFileSync(${JSON.stringify(file)}, 'apiVersion: bundle/v1\\nwrong: true\\n');
setTimeout(() => {}, 600_000);
`,
    );
    const ran = await j.pull(file, '--key', key);
    assert.match(ran.stderr, /E_MANIFEST/);
    assert.ok(existsSync(j.path('pid')));
    const pid = Number(readFileSync(j.path('pid'), 'utf8'));
    t.after(() => {
      if (runs(pid)) process.kill(pid, 'SIGKILL');
    });
    while (runs(pid)) await sleep(20);
  });
});

function runs(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
