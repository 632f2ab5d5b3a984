/** `bundle serve`, started as a process, to the clients that people have: straight from the directory, plain and with TLS. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createCertificateAuthority } from '../support/certificates.ts';
import { bundleProgram } from '../support/real/bundle.ts';
import { sha256Of } from '../support/real/clients.ts';
import { startContainerd, writeCertsDir } from '../support/real/containerd.ts';
import { type EqualPaths, makeEqualPaths } from '../support/real/equal-paths.ts';
import { type Outside, startOutside } from '../support/real/outside.ts';
import { type Environment, freePort, must, run, startServer } from '../support/real/programs.ts';
import { createScope, createSuiteScope } from '../support/real/scope.ts';
import { tool } from '../support/tools.ts';

const scope = createSuiteScope();
let made: EqualPaths;
let outside: Outside;
let caFile: string;
let env: Environment;
type Served = { host: string; scheme: 'http' | 'https' };
const served: Record<'http' | 'https', Served> = { http: { host: '', scheme: 'http' }, https: { host: '', scheme: 'https' } };

const TAGGED = ['docker.io/library/tool:1.0', 'ghcr.io/library/tool:1.0', 'docker.io/library/three:2', 'ghcr.io/library/one:3'];

async function startServe(...flags: string[]): Promise<string> {
  const port = await freePort();
  const args = ['serve', made.path, '--trust', made.trust, '--state', 'state', '--listen', `127.0.0.1:${port}`, ...flags];
  await startServer(scope, port, bundleProgram, args, { cwd: made.directory, env: { HOME: made.directory } });
  return `127.0.0.1:${port}`;
}

before(async () => {
  made = await makeEqualPaths(scope);
  outside = await startOutside(scope);
  const ca = await createCertificateAuthority();
  const server = await ca.server();
  caFile = join(made.directory, 'ca.pem');
  await writeFile(caFile, ca.cert);
  await writeFile(join(made.directory, 'tls.crt'), server.cert);
  await writeFile(join(made.directory, 'tls.key'), server.key);
  const home = made.directory;
  env = { HOME: home, TMPDIR: home, XDG_RUNTIME_DIR: home, SSL_CERT_FILE: caFile, ...outside.env };
  served.http.host = await startServe();
  served.https.host = await startServe('--tls-cert', 'tls.crt', '--tls-key', 'tls.key');
});
after(() => scope.end());

const text = async (...[program, ...args]: [string, ...string[]]): Promise<string> =>
  (await must(tool(program), args, { env })).toString('utf8').trim();

/** podman with a store of its own, so that nothing is there before. */
function podman(store: string, ...args: string[]): Promise<string> {
  const own = join(made.directory, 'podman', store);
  return text('podman', '--root', join(own, 'root'), '--runroot', join(own, 'run'), '--storage-driver', 'vfs', ...args);
}

const pinned = (ref: string): string => `${ref.slice(0, ref.lastIndexOf(':'))}@${made.targetOf(ref)}`;

for (const scheme of ['http', 'https'] as const) {
  describe(`serve over ${scheme}`, () => {
    // The origin is a part of the path, where no ":" can stand.
    const at = (ref: string): string => `${served[scheme].host}/${ref.replace(/^([^/]*):(\d+)\//, '$1_$2/')}`;
    const verify = `--tls-verify=${scheme === 'https'}`;

    it('podman pulls by tag and by digest, from equal paths of two origins each its own', async () => {
      for (const ref of TAGGED) {
        for (const name of [at(ref), at(pinned(ref))]) {
          await podman(`${scheme}-direct`, 'pull', '-q', verify, name);
          const digests = await podman(`${scheme}-direct`, 'image', 'inspect', '--format', '{{.RepoDigests}}', name);
          assert.ok(digests.includes(made.targetOf(ref)), `${name}: ${digests}`);
        }
      }
    });

    it("podman pulls by the origin's own name when registries.conf names serve as mirror", async () => {
      const conf = join(made.directory, `${scheme}.conf`);
      const mirror = (origin: string): string =>
        `[[registry]]\nlocation = "${origin}"\n[[registry.mirror]]\nlocation = "${at(origin)}"\ninsecure = ${scheme === 'http'}\n`;
      await writeFile(conf, `${mirror('docker.io')}${mirror('ghcr.io')}`);
      outside.forget();
      for (const ref of TAGGED) {
        await podman(`${scheme}-mirror`, '--registries-conf', conf, 'pull', '-q', ref);
        const digests = await podman(`${scheme}-mirror`, 'image', 'inspect', '--format', '{{.RepoDigests}}', ref);
        assert.ok(digests.includes(made.targetOf(ref)), `${ref}: ${digests}`);
      }
      assert.deepEqual(outside.asked(), []);
    });

    it('skopeo 1.9 and 1.22 read the very bytes that were signed and copy them', async () => {
      for (const program of ['skopeo', 'skopeo-sid']) {
        for (const { ref, targetDigest } of made.contents) {
          const raw = await must(tool(program), ['inspect', '--raw', verify, `docker://${at(ref)}`], { env });
          assert.equal(sha256Of(raw), targetDigest, ref);
        }
        const to = join(made.directory, `${program}-${scheme}`);
        await must(
          tool(program),
          ['copy', '-q', '--all', `--src-${verify.slice(2)}`, `docker://${at(TAGGED[0] as string)}`, `dir:${to}`],
          {
            env,
          },
        );
        assert.equal(sha256Of(await readFile(join(to, 'manifest.json'))), made.targetOf(TAGGED[0] as string));
      }
    });

    it('crane finds every digest and validates images whole', async () => {
      for (const { ref, targetDigest } of made.contents) assert.equal(await text('crane', 'digest', at(ref)), targetDigest);
      // Not those with attestations: crane wants a layer for each diff_id there, which BuildKit does not make.
      for (const ref of ['docker.io/library/three:2', 'ghcr.io/library/one:3', 'docker.io/library/schema2:1'])
        assert.match(await text('crane', 'validate', '--remote', at(ref)), /^PASS/);
    });

    it('oras discovers the referrers of an image and pulls an artifact', async () => {
      const plain = scheme === 'http' ? ['--plain-http'] : [];
      const found = JSON.parse(await text('oras', 'discover', ...plain, '--format', 'json', at(TAGGED[0] as string)));
      // Our own signature is one too.
      const others = (list: Record<string, string>[]): unknown[] =>
        list
          .map(({ digest, artifactType }) => [digest, artifactType])
          .filter(([, type]) => type !== 'application/vnd.dev.sigstore.bundle.v0.3+json');
      assert.deepEqual(others(found.referrers), [[made.images.sbom.digest, 'application/spdx+json']]);
      assert.equal(found.referrers.length, 2);
      const none = JSON.parse(await text('oras', 'discover', ...plain, '--format', 'json', at('ghcr.io/library/tool:1.0')));
      assert.deepEqual(others(none.referrers), []);
      const to = join(made.directory, `oras-${scheme}`);
      await text('oras', 'pull', ...plain, '-o', to, at('docker.io/library/tool:sbom'));
      assert.equal(sha256Of(await readFile(join(to, 'thing.bin'))), made.images.sbom.blobs[1]?.digest);
    });

    it('curl gets parts of a blob that make the whole', async () => {
      const [blob] = made.images.docker.blobs.toSorted((a, b) => b.size - a.size);
      assert.ok(blob !== undefined);
      const url = `${scheme}://${at(`docker.io/library/tool`).replace('/', '/v2/')}/blobs/${blob.digest}`;
      const curl = (...args: string[]): Promise<Buffer> => must(tool('curl'), ['-sS', '--cacert', caFile, ...args, url], { env });
      const middle = blob.size >> 1;
      const parts = [await curl('-r', `0-${middle - 1}`), await curl('-r', `${middle}-`)];
      assert.deepEqual(
        parts.map(({ length }) => length),
        [middle, blob.size - middle],
      );
      assert.equal(sha256Of(Buffer.concat(parts)), blob.digest);
      assert.equal((await curl('-r', '-5')).length, 5);
      const status = (...args: string[]): Promise<string> => curl('-o', '/dev/null', '-w', '%{http_code}', ...args).then(String);
      assert.equal(await status('-r', '0-0'), '206');
      assert.equal(await status('-r', `${blob.size}-`), '416');
      const part = join(made.directory, `part-${scheme}`);
      await writeFile(part, (parts[0] as Buffer).subarray(0, 100));
      await curl('-C', '-', '-o', part);
      assert.equal(sha256Of(await readFile(part)), blob.digest);
    });

    it('containerd pulls through it by the names of the origins, and "mirrors --check" proves it', async (t) => {
      const own = createScope(t);
      const flags = [
        ...['--endpoint', `${scheme}://${served[scheme].host}`, '--trust', made.trust, '--state', 'state'],
        ...(scheme === 'https' ? ['--node-ca-file', caFile] : []),
      ];
      const check = ['--check', '--ctr', tool('ctr'), '--registries-yaml', join(made.directory, `${scheme}.yaml`)];
      const proven = await made.bundle(['mirrors', made.path, ...flags, ...check]);
      assert.equal(proven.code, 0, proven.stderr);
      const { json } = await made.bundle(['mirrors', made.path, ...flags, '--hosts-toml', '--json']);
      const certsDir = await writeCertsDir(join(made.directory, `certs-${scheme}`), json().hostsToml as Record<string, string>);
      outside.forget();
      const containerd = await startContainerd(own, { certsDir, env: outside.env });
      for (const ref of [...TAGGED, `${made.hostOrigin}/library/tool:1.0`]) {
        assert.deepEqual(await containerd.criPull(ref), { status: 0, message: '' });
        assert.equal(await containerd.digestOf('k8s.io', ref), made.targetOf(ref));
        const { code, stderr } = await containerd.pull(pinned(ref));
        assert.equal(code, 0, stderr);
      }
      assert.deepEqual(outside.asked(), []);
    });

    it('answers the ping below an origin, which RKE2 and the system-agent ask of an endpoint with a path', async () => {
      const url = `${scheme}://${served[scheme].host}/v2/docker.io/`;
      const args = ['-sS', '--cacert', caFile, '-o', '/dev/null', '-w', '%{http_code}', url];
      assert.equal((await must(tool('curl'), args, { env })).toString(), '200');
    });

    it('takes no push and no tag', async () => {
      for (const args of [
        ['copy', at(TAGGED[0] as string), at('docker.io/library/tool:2.0')],
        ['tag', at(TAGGED[0] as string), 'latest'],
      ]) {
        const { code, stderr } = await run(tool('crane'), args, { env });
        assert.notEqual(code, 0);
        assert.match(stderr, /405|not supported|UNSUPPORTED/i);
      }
    });
  });
}
