/** What stands between us and an origin: a real tinyproxy, and a registry that mirrors another. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type CertificateAuthority, createCertificateAuthority } from '../support/certificates.ts';
import { createBundle, type ImageLine, writeManifest } from '../support/real/bundle.ts';
import { createClients, dockerConfig } from '../support/real/clients.ts';
import { type Content, succeed } from '../support/real/journey.ts';
import { pushPlainImage } from '../support/real/plain-image.ts';
import { startProxy } from '../support/real/proxy.ts';
import { type Registry, startRegistry } from '../support/real/registries.ts';
import { createSuiteScope } from '../support/real/scope.ts';
import { tempDir } from '../support/temp-dir.ts';

const IMAGE = { name: 'hub/library/tools:1', layerBytes: [200_000, 100_000] };

/** Requests for content in a registry's own log, whoever sent them. */
const served = (registry: Registry): number => registry.server.output().match(/"(GET|HEAD) \/v2\/hub\/library/g)?.length ?? 0;

describe('between us and the origin', () => {
  const suite = createSuiteScope();
  let directory = '';
  let ca: CertificateAuthority;
  let caFile = '';
  let secure: Registry;
  let plain: Registry;
  let near: Registry;
  const digests = new Map<Registry, string>();
  let runs = 0;

  before(async () => {
    directory = await tempDir(suite, 'bundle-between-');
    ca = await createCertificateAuthority();
    caFile = join(directory, 'ca.crt');
    await writeFile(caFile, ca.cert);
    [secure, plain, near] = await Promise.all([
      startRegistry(suite, { kind: 'distribution 3', auth: 'basic', tls: true, ca }),
      startRegistry(suite, { kind: 'distribution 2.8' }),
      startRegistry(suite, { kind: 'distribution 2.8' }),
    ]);
    const registries = [secure, plain, near];
    const clients = await createClients({ directory: join(directory, 'maker'), caFile, registries });
    for (const registry of registries)
      digests.set(registry, await pushPlainImage(registry, clients, join(directory, `image-${digests.size}`), IMAGE));
  });
  after(() => suite.end());

  /** A new project of these images, and its command line. */
  async function project(images: readonly ImageLine[]) {
    const home = join(directory, `run-${runs++}`);
    await writeManifest(home, 'between', images);
    const authFile = join(home, 'auth.json');
    await writeFile(authFile, dockerConfig([secure]));
    return { bundle: await createBundle(home), home, flags: ['--authfile', authFile, '--ca-file', caFile, '--json'] };
  }

  const throughAll = async (
    env: Record<string, string>,
    images: readonly ImageLine[],
    flags: readonly string[],
  ): Promise<Content[]> => {
    const { bundle, ...own } = await project(images);
    await succeed(bundle(['lock', ...own.flags, ...flags], env));
    await succeed(bundle(['pull', '--unsigned', ...own.flags, ...flags], env));
    return (await succeed(bundle(['inspect', 'bundles/between', '--json']))).contents as Content[];
  };

  it('pulls through a proxy: HTTPS by a tunnel, plain HTTP too, and past it where NO_PROXY says so', async (t) => {
    const proxy = await startProxy(t);
    const nearHost = near.host.replace('127.0.0.1', 'localhost');
    const hosts = [secure.host, plain.host, nearHost];
    const env = { HTTPS_PROXY: proxy.url, HTTP_PROXY: proxy.url, NO_PROXY: 'localhost' };
    const before = [secure, plain, near].map(served);
    const flags = ['--plain-http', plain.host, '--plain-http', nearHost];
    const contents = await throughAll(
      env,
      hosts.map((host) => `${host}/${IMAGE.name}`),
      flags,
    );

    for (const [i, registry] of [secure, plain, near].entries()) {
      const content = contents.find((c) => c.ref.startsWith(hosts[i] as string));
      assert.equal(content?.targetDigest, digests.get(registry));
      assert.ok(served(registry) > (before[i] as number), `${registry.host} was asked`);
    }
    const asked = proxy.requests();
    assert.ok(asked.includes(`CONNECT ${secure.host}`), asked.join('\n'));
    assert.ok(asked.some((line) => line === `CONNECT ${plain.host}` || line.startsWith(`GET http://${plain.host}/v2/`)));
    assert.deepEqual(
      asked.filter((line) => !line.includes(secure.host) && !line.includes(plain.host)),
      [],
    );
  });

  it('logs in to a proxy, and never shows the password when that is refused', async (t) => {
    const proxy = await startProxy(t, { user: 'walker', password: 'hush-hush' });
    const address = (password: string): string => proxy.url.replace('://', `://walker:${password}@`);
    const images = [`${secure.host}/${IMAGE.name}`];
    const [content] = await throughAll({ HTTPS_PROXY: address('hush-hush') }, images, []);
    assert.equal(content?.targetDigest, digests.get(secure));

    const { bundle, flags } = await project(images);
    const refused = await bundle(['lock', ...flags], { HTTPS_PROXY: address('not-so-hush') });
    assert.equal(refused.code, 4, refused.stderr);
    assert.match(refused.stderr, /proxy/i);
    assert.doesNotMatch(refused.stderr + refused.stdout, /hush/);
  });

  it('pulls docker.io from a mirror below a path, with the login of the mirror and not that of docker.io', async () => {
    const flags = ['--source-mirror', `docker.io=https://${secure.host}/v2/hub`];
    const [content] = await throughAll({}, ['tools:1'], flags);
    assert.equal(content?.ref, 'docker.io/library/tools:1');
    assert.equal(content?.targetDigest, digests.get(secure));

    const { bundle, home, flags: own } = await project(['tools:1']);
    const hubOnly = dockerConfig([{ host: 'https://index.docker.io/v1/', login: secure.login }]);
    await writeFile(join(home, 'auth.json'), hubOnly);
    const refused = await bundle(['lock', ...own, ...flags]);
    assert.equal(refused.code, 4, 'the password of docker.io was sent to the mirror');
    assert.match(refused.stderr, new RegExp(`${secure.host}.*none were found`));
  });

  it('pulls docker.io from a mirror that speaks plain HTTP', async () => {
    const [content] = await throughAll(
      {},
      ['docker.io/library/tools:1'],
      ['--source-mirror', `docker.io=http://${plain.host}/v2/hub`],
    );
    assert.equal(content?.targetDigest, digests.get(plain));
  });
});
