import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { rejectsWith } from '../support/assert-code.ts';
import { type CertificateAuthority, createCertificateAuthority, type KeyPair } from '../support/certificates.ts';
import { tempDir } from '../support/temp-dir.ts';
import { aliceBasic, readBlob, setUp } from './registry-client-harness.ts';

describe('TLS', () => {
  let ca: CertificateAuthority;
  let server: KeyPair;
  before(async () => {
    ca = await createCertificateAuthority();
    server = await ca.server();
  });

  it('an unknown CA is E_TLS with the flag to use, at once', async (t) => {
    const setup = await setUp(t, { tls: server });
    const error = await rejectsWith(setup.client.getManifest(setup.origin, 'a/b', 'v1'), 'E_TLS');
    assert.match(error.hint ?? '', /--ca-file/);
    assert.equal(setup.registry.requests.length, 0);
    assert.deepEqual(setup.clock.slept, []);
  });

  it('a CA file makes it work, for registry and storage', async (t) => {
    const file = join(await tempDir(t), 'ca.pem');
    await writeFile(file, ca.cert);
    const setup = await setUp(t, { tls: server, switches: { blob: '307-s3' }, client: { caFiles: [file] } });
    assert.equal((await setup.client.getManifest(setup.origin, 'a/b', 'v1')).digest, setup.image.digest);
    assert.deepEqual(await readBlob(setup, 'a/b', setup.layer), setup.layer.bytes);
  });

  it('a CA and a client certificate of one host alone', async (t) => {
    const certsDir = await tempDir(t);
    const setup = await setUp(t, { tls: { ...server, clientCa: ca.cert }, client: { certsDir } });
    const directory = join(certsDir, setup.origin);
    await mkdir(directory);
    const client = await ca.client();
    await writeFile(join(directory, 'ca.crt'), ca.cert);
    await writeFile(join(directory, 'client.cert'), client.cert);
    await writeFile(join(directory, 'client.key'), client.key);
    assert.equal((await setup.client.getManifest(setup.origin, 'a/b', 'v1')).digest, setup.image.digest);
  });

  it('a client certificate without its key is E_USAGE', async (t) => {
    const certsDir = await tempDir(t);
    const setup = await setUp(t, { tls: server, client: { certsDir } });
    await mkdir(join(certsDir, setup.origin));
    await writeFile(join(certsDir, setup.origin, 'client.cert'), (await ca.client()).cert);
    await rejectsWith(setup.client.getManifest(setup.origin, 'a/b', 'v1'), 'E_USAGE', /\.key/);
  });

  it('a CA file that is missing or no PEM is E_USAGE and names it', async (t) => {
    const directory = await tempDir(t);
    await writeFile(join(directory, 'not.pem'), 'hello');
    for (const name of ['none.pem', 'not.pem']) {
      const setup = await setUp(t, { tls: server, client: { caFiles: [join(directory, name)] } });
      await rejectsWith(setup.client.getManifest(setup.origin, 'a/b', 'v1'), 'E_USAGE', new RegExp(name));
    }
  });
});

describe('plain HTTP', () => {
  it('is never tried unless asked: a plain registry is E_TLS with the flag to use, and no credential was sent', async (t) => {
    const setup = await setUp(t, { credential: aliceBasic, client: { plainHttp: [] } });
    const error = await rejectsWith(setup.client.getManifest(setup.origin, 'a/b', 'v1'), 'E_TLS');
    assert.match(error.hint ?? '', new RegExp(`--plain-http ${setup.origin}`));
    assert.equal(setup.registry.requests.length, 0);
  });

  it('is for the host named, with its port, and for no other', async (t) => {
    const setup = await setUp(t);
    assert.equal(setup.client.endpoint(setup.origin).base.protocol, 'http:');
    for (const origin of ['127.0.0.1', '127.0.0.1:1', 'docker.io'])
      assert.equal(setup.client.endpoint(origin).base.protocol, 'https:');
  });
});

describe('source mirrors', () => {
  it('docker.io=http://mirror/v2/hub: the path is part of the repository, in requests and in scopes', async (t) => {
    const setup = await setUp(t, { switches: { auth: 'bearer' } });
    const sourceMirrors = { 'docker.io': `${setup.registry.url}/v2/hub` };
    const mirrored = await setUp(t, { client: { sourceMirrors } });
    setup.registry.add('hub/library/redis', '7', setup.image);
    const got = await mirrored.client.getManifest('docker.io', 'library/redis', '7');
    assert.equal(got.digest, setup.image.digest);
    assert.deepEqual(
      setup.registry.seen('token').map((r) => r.query.get('scope')),
      ['repository:hub/library/redis:pull'],
    );
  });
});

describe('what a person may see of a failure', () => {
  it('no signed address, token or password is in an error', async (t) => {
    const setup = await setUp(t, { credential: aliceBasic, switches: { auth: 'bearer', anonymousPull: false, blob: '307-s3' } });
    setup.registry.inject({ on: 'blob', at: 'cdn', times: 999, does: { kind: 'reset' } });
    const error = await rejectsWith(readBlob(setup, 'a/b', setup.layer), 'E_NETWORK');
    const seen = `${error.message} ${error.hint} ${(error.cause as Error | undefined)?.message} ${JSON.stringify(error.detail)}`;
    for (const secret of ['X-Amz-Signature', 'wonderland', 'tok-', 'Bearer']) assert.ok(!seen.includes(secret), seen);
  });
});
