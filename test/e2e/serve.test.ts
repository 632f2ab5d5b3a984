import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { hash } from 'bcryptjs';
import { blobPath } from '../../src/bundle/layout.ts';
import { createCertificateAuthority } from '../support/certificates.ts';
import {
  flipByte,
  type Journey,
  journey,
  lockOf,
  makeReadOnly,
  type Ran,
  statementOf,
  tree,
} from '../support/command-journey.ts';
import { randomArtifact, randomImage, randomIndex } from '../support/random-image.ts';
import type { Ending } from '../support/temp-dir.ts';

async function pulled(t: TestContext, ...lines: string[]) {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomIndex({ seed: 1, bytes: 20_000 });
  await origin.put('team/app', '1.0', image);
  const file = await j.manifest('lumen', ...lines, `images: [${origin.host}/team/app:1.0]`);
  assert.equal((await j.pull(file)).code, 0);
  return { j, origin, image, file, repository: j.at(origin, 'team/app') };
}

/** Runs `bundle serve` until the test ends; gives its address and, after `stop`, how it ended. */
async function serve(t: Ending, j: Journey, ...argv: string[]): Promise<{ url: string; host: string; stop(): Promise<Ran> }> {
  const abort = new AbortController();
  let ready: (text: string) => void = () => undefined;
  const announced = new Promise<string>((resolve) => {
    ready = resolve;
  });
  const all = ['serve', j.bundle, '--listen', '127.0.0.1:0', '--trust', j.key.pub, '--state', j.path('state'), '--json', ...argv];
  const ended = j.run(all, { signal: abort.signal, onStdout: (text) => ready(text) });
  const stop = (): Promise<Ran> => {
    abort.abort('SIGINT');
    return ended;
  };
  t.after(async () => void (await stop()));
  const first = await Promise.race([announced, ended.then((ran) => assert.fail(`it ended with ${ran.code}: ${ran.stderr}`))]);
  const { url } = JSON.parse(first) as { url: string };
  return { url, host: url.replace(/^https?:\/\//, ''), stop };
}

/** Body bytes and whether the answer was whole. */
function fetchBlob(
  url: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; bytes: number; whole: boolean }> {
  return new Promise((resolve) => {
    const request = get(url, { headers, agent: false }, (response) => {
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      response.on('error', () => undefined);
      response.on('close', () => resolve({ status: response.statusCode ?? 0, bytes, whole: response.complete }));
    });
    request.on('error', () => resolve({ status: 0, bytes: 0, whole: false }));
  });
}

describe('serve', () => {
  test('a pull through it gives the same digests and blobs as the origin did', async (t) => {
    const { j, image, repository } = await pulled(t);
    const served = await serve(t, j);
    const file = await j.manifest('again', `images: [${served.host}/${repository}:1.0]`);
    const ran = await j.run(['pull', '-f', file, '-o', j.path('again'), '--key', j.key.key], {
      env: { BUNDLE_PLAIN_HTTP: served.host },
    });
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(lockOf(file).items[0]?.digest, image.digest);
    const carried = new Set(statementOf(j.path('again')).blobs.map((b) => b.digest));
    for (const { digest } of [...image.manifests, ...image.blobs]) assert.ok(carried.has(digest), digest);
  });

  test('stands in for the origin with --source-mirror, with the paths of a target', async (t) => {
    const { j, origin, image, file } = await pulled(t);
    const served = await serve(t, j);
    await origin.stop();
    const mirror = `${origin.host}=http://${served.host}/v2/${origin.host.replace(':', '_')}`;
    const ran = await j.pull(file, '-o', j.path('again'), '--source-mirror', mirror);
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(statementOf(j.path('again')).contents[0]?.targetDigest, image.digest);
  });

  test('serves aliases and, of a sparse bundle, what the tag means plus the original by digest', async (t) => {
    const { j, origin, image, repository } = await pulled(t);
    const lines = [`images: [{ref: "${origin.host}/team/app:1.0", platforms: [linux/arm64], aliases: ["x/app:v1"]}]`];
    await j.pull(await j.manifest('lumen', ...lines));
    const served = await serve(t, j);
    const digestOf = async (path: string) =>
      (await fetch(`${served.url}/v2/${path}`, { method: 'HEAD' })).headers.get('docker-content-digest');
    assert.equal(await digestOf(`${repository}/manifests/1.0`), image.children[1]?.digest);
    assert.equal(await digestOf('x/app/manifests/v1'), image.children[1]?.digest);
    assert.equal(await digestOf(`${repository}/manifests/${image.digest}`), image.digest);
    assert.equal(await digestOf(`${repository}/manifests/${image.children[0]?.digest}`), null, 'amd64 is not carried');
    const tags = (await (await fetch(`${served.url}/v2/${repository}/tags/list`)).json()) as { tags: string[] };
    assert.deepEqual(
      tags.tags.filter((tag) => !tag.endsWith('.sig')),
      ['1.0'],
    );
  });

  test('answers ranges and the referrers API', async (t) => {
    const { j, origin } = await pulled(t);
    const subject = await randomImage({ seed: 5 });
    const referrer = randomArtifact({ seed: 6, subject: subject.descriptor, artifactType: 'application/vnd.example.sbom' });
    await origin.put('team/signed', 'sbom', referrer);
    await j.pull(await j.manifest('lumen', `images: [${origin.host}/team/signed:sbom]`));
    const served = await serve(t, j);
    const repository = `${served.url}/v2/${j.at(origin, 'team/signed')}`;
    const list = (await (await fetch(`${repository}/referrers/${subject.digest}`)).json()) as {
      manifests: { digest: string; artifactType: string }[];
    };
    assert.deepEqual(
      list.manifests.map((m) => [m.digest, m.artifactType]),
      [[referrer.digest, 'application/vnd.example.sbom']],
    );
    const blob = referrer.blobs.find((b) => b.size > 100);
    const part = await fetch(`${repository}/blobs/${blob?.digest}`, { headers: { range: 'bytes=10-19' } });
    assert.equal(part.status, 206);
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), Buffer.concat([...(blob?.read(10, 20) ?? [])]));
  });

  test('takes no writes', async (t) => {
    const { j, repository } = await pulled(t);
    const served = await serve(t, j);
    for (const [method, path] of [
      ['POST', 'blobs/uploads/'],
      ['PUT', 'manifests/1.0'],
      ['DELETE', 'manifests/1.0'],
    ] as const)
      assert.equal((await fetch(`${served.url}/v2/${repository}/${path}`, { method })).status, 405, `${method} ${path}`);
  });

  test('withholds the end of a blob with a wrong byte, and all of a part of it', async (t) => {
    const { j, image, repository } = await pulled(t);
    const served = await serve(t, j);
    const layer = image.layers[0]?.descriptor;
    assert.ok(layer);
    const url = `${served.url}/v2/${repository}/blobs/${layer.digest}`;
    const good = await fetchBlob(url);
    assert.deepEqual([good.status, good.bytes, good.whole], [200, layer.size, true]);
    flipByte(join(j.bundle, blobPath(layer.digest)), 100);
    const whole = await fetchBlob(url);
    assert.ok(!whole.whole || whole.status !== 200, 'no whole wrong blob');
    assert.ok(whole.bytes < layer.size);
  });

  test('a part of a blob with a wrong byte is withheld too', async (t) => {
    const { j, image, repository } = await pulled(t);
    const layer = image.layers[0]?.descriptor;
    assert.ok(layer);
    flipByte(join(j.bundle, blobPath(layer.digest)), 100);
    const served = await serve(t, j);
    const part = await fetchBlob(`${served.url}/v2/${repository}/blobs/${layer.digest}`, { range: 'bytes=90-110' });
    assert.ok(part.status !== 206 || part.bytes === 0, `${part.status}, ${part.bytes} bytes of a damaged blob`);
  });

  test('has the gate of load: untrusted, expired, damaged or of another name, it never listens', async (t) => {
    const { j, image, file } = await pulled(t, 'expires: 12h');
    const argv = (...more: string[]) => ['serve', j.bundle, '--listen', '127.0.0.1:0', '--state', j.path('state'), ...more];
    await j.pull(file, '-o', j.path('unsigned'), '--unsigned');
    const unsigned = await j.run(['serve', j.path('unsigned'), ...argv().slice(2), '--trust', j.key.pub]);
    assert.match(unsigned.stderr, /E_UNSIGNED/);
    const late = Date.parse(statementOf(j.bundle).expires as string);
    assert.match((await j.run(argv('--trust', j.key.pub), { now: late })).stderr, /E_EXPIRED/);
    assert.match((await j.run(argv('--trust', j.key.pub, '--name', 'prod'))).stderr, /E_WRONG_NAME/);
    writeFileSync(join(j.bundle, blobPath(image.digest)), 'damaged');
    const damaged = await j.run(argv('--trust', j.key.pub));
    assert.equal(damaged.code, 5);
    assert.equal(damaged.stdout, '');
  });

  test('reads from a medium that can not be written and changes nothing on it', async (t) => {
    const { j, repository } = await pulled(t);
    makeReadOnly(j.bundle);
    const before = tree(j.bundle, true);
    const served = await serve(t, j);
    assert.equal((await fetch(`${served.url}/v2/${repository}/manifests/1.0`)).status, 200);
    const ran = await served.stop();
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(tree(j.bundle, true), before);
  });

  test('over TLS with a certificate of an own CA; a pull with --ca-file goes through', async (t) => {
    const { j, image, repository } = await pulled(t);
    const ca = await createCertificateAuthority();
    const { cert, key } = await ca.server();
    for (const [name, text] of [
      ['ca.crt', ca.cert],
      ['tls.crt', cert],
      ['tls.key', key],
    ] as const)
      writeFileSync(j.path(name), text);
    const served = await serve(t, j, '--tls-cert', j.path('tls.crt'), '--tls-key', j.path('tls.key'));
    assert.match(served.url, /^https:/);
    const file = await j.manifest('again', `images: [${served.host}/${repository}:1.0]`);
    const pull = (...more: string[]) => j.run(['lock', '-f', file, ...more], { env: { BUNDLE_PLAIN_HTTP: '' } });
    const refused = await pull();
    assert.equal(refused.code, 4);
    assert.match(refused.stderr, /E_TLS/);
    assert.equal((await pull('--ca-file', j.path('ca.crt'))).code, 0);
    assert.equal(lockOf(file).items[0]?.digest, image.digest);
  });

  test('over TLS of our own, with users, from a medium that can not be written: the CA lies with the state', async (t) => {
    const { j, repository } = await pulled(t);
    writeFileSync(j.path('users'), `node:${await hash('canary', 4)}\n`);
    makeReadOnly(j.bundle);
    const before = tree(j.bundle, true);
    const served = await serve(t, j, '--tls', 'self', '--htpasswd', j.path('users'));
    const ca = readFileSync(j.path('state', 'tls', 'ca.crt'), 'utf8');
    const status = async (auth?: string): Promise<number> => {
      const url = `${served.url}/v2/${repository}/manifests/1.0`;
      const sent = httpsRequest(url, { ca, agent: false, ...(auth === undefined ? {} : { auth }) }).end();
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      response.resume();
      return response.statusCode ?? 0;
    };
    assert.deepEqual([await status('node:canary'), await status('node:wrong'), await status()], [200, 401, 401]);
    const ran = await served.stop();
    assert.equal(ran.code, 0, ran.stderr);
    assert.ok(!`${ran.stdout}${ran.stderr}`.includes('canary'));
    assert.deepEqual(tree(j.bundle, true), before);
  });

  test('one half of a certificate pair, or an address that is none, is a usage error', async (t) => {
    const { j } = await pulled(t);
    const argv = ['serve', j.bundle, '--trust', j.key.pub, '--state', j.path('state')];
    assert.equal((await j.run([...argv, '--tls-cert', j.path('x')])).code, 2);
    for (const listen of ['5000', 'host', '127.0.0.1:70000', '::1:5000'])
      assert.equal((await j.run([...argv, '--listen', listen])).code, 2, listen);
  });

  test('ends when it is told to, also while nobody asks anything', async (t) => {
    const { j } = await pulled(t);
    const served = await serve(t, j);
    const ran = await Promise.race([served.stop(), setTimeout(4000, undefined, { ref: false })]);
    assert.equal(ran?.code, 0);
  });
});
