import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { request } from 'node:https';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { BundleError } from '../../../src/core/errors.ts';
import { parseOciManifest } from '../../../src/core/oci-manifest.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { createCertificateAuthority, type KeyPair } from '../../support/certificates.ts';
import { type HelperKind, writeCredentialHelper } from '../../support/credential-helper.ts';
import { startFaultRegistry } from '../../support/fault-registry.ts';
import {
  digestOfBytes,
  indexOf,
  nestedIndex,
  randomArtifact,
  randomImage,
  randomIndex,
  type TestImage,
} from '../../support/random-image.ts';
import { tempDir, withTempDir } from '../../support/temp-dir.ts';

describe('images made for tests', () => {
  it('are the same for the same seed and others for another', async () => {
    assert.equal((await randomImage({ seed: 5 })).digest, (await randomImage({ seed: 5 })).digest);
    assert.notEqual((await randomImage({ seed: 5 })).digest, (await randomImage({ seed: 6 })).digest);
  });

  it('are what the product takes for manifests, in every kind', async () => {
    const kinds: TestImage[] = [
      await randomImage({ compression: 'zstd' }),
      await randomImage({ docker: true }),
      await randomIndex({ attestations: true }),
      await randomIndex({ docker: true }),
      await nestedIndex(),
      randomArtifact(),
      await randomImage({ algorithm: 'sha512' }),
      await randomImage({ foreignUrls: ['https://example.com/layer'], docker: true }),
      indexOf([await randomImage(), randomArtifact()]),
    ];
    for (const image of kinds)
      for (const { bytes, mediaType, digest } of image.manifests) {
        parseOciManifest(bytes, mediaType, digest);
        assert.equal(digestOfBytes(bytes, digest.startsWith('sha512') ? 'sha512' : 'sha256'), digest);
      }
  });

  it('have layers that unpack to their diff id, and hold no foreign ones', async () => {
    for (const compression of ['gzip', 'zstd', 'none'] as const) {
      const [layer] = (await randomImage({ compression })).layers;
      const bytes = layer?.blob.bytes as Buffer;
      const tar = compression === 'gzip' ? gunzipSync(bytes) : compression === 'zstd' ? zstdDecompressSync(bytes) : bytes;
      assert.equal(digestOfBytes(tar), layer?.diffId);
    }
    const foreign = await randomImage({ foreignUrls: ['https://example.com/layer'], layers: 1 });
    assert.equal(foreign.blobs.length, 1);
    const index = await randomIndex();
    assert.equal(index.blobs.length, 5, 'two configs, two layers, one shared layer');
  });
});

describe('certificates made for tests', () => {
  it('secure the stand-in, with a client certificate where that is asked', async (t) => {
    const ca = await createCertificateAuthority();
    const server = await ca.server(['registry.example']);
    const open = await startFaultRegistry(t, { tls: server });
    const closed = await startFaultRegistry(t, { tls: { ...server, clientCa: ca.cert } });
    const ping = (url: string, options: { ca?: string } & Partial<KeyPair> = {}) =>
      new Promise<number | undefined>((resolve, reject) => {
        const sent = request(`${url}/v2/`, { ...options, agent: false }, (answer) => {
          answer.resume();
          resolve(answer.statusCode);
        });
        sent.on('error', reject).end();
      });
    assert.equal(await ping(open.url, { ca: ca.cert }), 200);
    assert.equal(await ping(open.url.replace('127.0.0.1', 'localhost'), { ca: ca.cert }), 200);
    await assert.rejects(ping(open.url));
    await assert.rejects(ping(closed.url, { ca: ca.cert }));
    assert.equal(await ping(closed.url, { ca: ca.cert, ...(await ca.client()) }), 200);
    assert.ok(open.urls.cdn.startsWith('https:') && open.urls.plain.startsWith('http:'));
  });
});

describe('credential helpers made for tests', () => {
  it('answer as their kind does, and count their calls', async (t) => {
    const directory = await tempDir(t);
    const run = async (kind: HelperKind, timeout = 5000) => {
      const helper = await writeCredentialHelper(directory, kind, { kind, secret: "it's" });
      const child = promisify(execFile)(helper.path, ['get'], { timeout, maxBuffer: 1e8 });
      child.child.stdin?.end('https://index.docker.io/v1/\n');
      const result = await child.then(
        ({ stdout }) => ({ code: 0, stdout }),
        (error: { code: number | null; stdout: string }) => ({ code: error.code, stdout: error.stdout }),
      );
      assert.deepEqual(await helper.calls(), ['get https://index.docker.io/v1/']);
      return result;
    };
    const ok = { ServerURL: 'https://index.docker.io/v1/', Username: 'helper-user', Secret: "it's" };
    assert.deepEqual(JSON.parse((await run('ok')).stdout), ok);
    assert.equal((JSON.parse((await run('token')).stdout) as typeof ok).Username, '<token>');
    assert.deepEqual(await run('notfound'), { code: 1, stdout: 'credentials not found in native keychain\n' });
    assert.equal((await run('error')).code, 1);
    assert.match((await run('garbage')).stdout, /not json/);
    assert.equal((await run('flood')).stdout.length, 10 * 1024 * 1024);
    assert.equal((await run('hang', 300)).code, null);
  });
});

describe('small test tools', () => {
  it('remove their directories', async () => {
    let seen = '';
    await withTempDir(async (path) => {
      seen = path;
      assert.ok(existsSync(path));
    });
    assert.ok(!existsSync(seen));
  });

  it('find a wrong code, a wrong message and a success', async () => {
    const fails = () => Promise.reject(new BundleError('E_AUTH', 'no way in'));
    assert.equal((await rejectsWith(fails(), 'E_AUTH', /way/)).code, 'E_AUTH');
    await assert.rejects(rejectsWith(fails(), 'E_DIGEST'), /want code E_DIGEST, got E_AUTH/);
    await assert.rejects(rejectsWith(fails(), 'E_AUTH', /other/));
    await assert.rejects(rejectsWith(Promise.resolve(1), 'E_AUTH'), /succeeded with 1/);
    await assert.rejects(rejectsWith(Promise.reject(new TypeError('x')), 'E_AUTH'), /want a BundleError/);
  });
});
