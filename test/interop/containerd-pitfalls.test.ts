/**
 * What goes wrong with registries.yaml in the field, each shown on a real containerd with the hosts.toml files that k3s would derive: the wrong
 * form fails (or, worse, does not), the form that we write works.
 */
import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { type CheckResult, checkMirrors } from '../../src/k3s/check.ts';
import { desiredMirrors, type MirrorWishes } from '../../src/k3s/desired-mirrors.ts';
import type { HostOptions } from '../../src/k3s/hosts.ts';
import { renderHostsToml } from '../../src/k3s/hosts-toml.ts';
import { lintRegistries } from '../../src/k3s/lint.ts';
import { parseRegistriesYaml } from '../../src/k3s/registries-yaml.ts';
import { createSpawn } from '../../src/k3s/spawn.ts';
import { createCertificateAuthority } from '../support/certificates.ts';
import { type TestRegistry, testRegistry } from '../support/command-journey.ts';
import { digestOfBytes, randomImage, type TestImage } from '../support/random-image.ts';
import { resolveByCtr, startContainerd, writeCertsDir } from '../support/real/containerd.ts';
import { type Outside, startOutside } from '../support/real/outside.ts';
import { createScope, createSuiteScope } from '../support/real/scope.ts';
import { tempDir } from '../support/temp-dir.ts';
import { tool } from '../support/tools.ts';

const scope = createSuiteScope();
const LOGIN = { user: 'node', password: 'secret' };
let outside: Outside;
let folder: string;
let images: Readonly<{ docker: TestImage; ghcr: TestImage; bare: TestImage }>;
/** Targets: plain HTTP, TLS of an own CA, TLS with a certificate for another name, plain HTTP with a login. */
let plain: TestRegistry;
let secure: TestRegistry;
let misnamed: TestRegistry;
let guarded: TestRegistry;
let caFile: string;

before(async () => {
  outside = await startOutside(scope);
  folder = await tempDir(scope);
  const ca = await createCertificateAuthority();
  caFile = join(folder, 'ca.pem');
  await writeFile(caFile, ca.cert);
  plain = await testRegistry(scope);
  secure = await testRegistry(scope, { tls: await ca.server(['node-1']) });
  misnamed = await testRegistry(scope, { tls: await ca.client('other.example') });
  guarded = await testRegistry(scope, { auth: { kind: 'basic', users: { [LOGIN.user]: LOGIN.password } } });
  const [docker, ghcr, bare] = [await randomImage({ seed: 1 }), await randomImage({ seed: 2 }), await randomImage({ seed: 3 })];
  images = { docker, ghcr, bare };
  for (const registry of [plain, secure, misnamed, guarded]) {
    await registry.put('docker.io/library/tool', '1.0', docker);
    await registry.put('ghcr.io/library/tool', '1.0', ghcr);
    await registry.put('library/tool', '1.0', bare); // what a mirror without the origin in its path holds
  }
});
after(() => scope.end());

const DOCKER = 'docker.io/library/tool:1.0';
const GHCR = 'ghcr.io/library/tool:1.0';

/** The certs.d that k3s derives from a registries.yaml. */
async function derive(yaml: string, options: HostOptions = {}): Promise<string> {
  const { registries } = parseRegistriesYaml(yaml, 'registries.yaml');
  const files = Object.fromEntries(renderHostsToml(registries, options));
  return writeCertsDir(await mkdtemp(join(folder, 'certs-')), files);
}

/** The certs.d for what we would write ourselves. */
async function ours(wishes: Partial<MirrorWishes>): Promise<string> {
  const registries = desiredMirrors({ origins: ['docker.io', 'ghcr.io'], endpoints: [], directNames: true, ...wishes });
  return writeCertsDir(await mkdtemp(join(folder, 'certs-')), Object.fromEntries(renderHostsToml(registries)));
}

const raw = async (files: Readonly<Record<string, string>>): Promise<string> =>
  writeCertsDir(await mkdtemp(join(folder, 'certs-')), files);

type Resolved = Readonly<{ digest: string | undefined; stderr: string }>;

/** What containerd takes a name for; undefined when it finds nothing. */
async function resolved(certsDir: string, name: string, ...extra: string[]): Promise<Resolved> {
  for (const registry of [plain, secure, misnamed, guarded]) registry.clear();
  outside.forget();
  const { code, stdout, stderr } = await resolveByCtr(certsDir, name, { HOME: folder, ...outside.env }, ...extra);
  return { digest: code === 0 ? digestOfBytes(stdout) : undefined, stderr };
}

async function finds(certsDir: string, name: string, image: TestImage, ...extra: string[]): Promise<void> {
  const { digest, stderr } = await resolved(certsDir, name, ...extra);
  assert.equal(digest, image.digest, stderr);
  assert.deepEqual(outside.asked(), []);
}

async function fails(certsDir: string, name: string, reason: RegExp): Promise<void> {
  const { digest, stderr } = await resolved(certsDir, name);
  assert.equal(digest, undefined, 'it resolved');
  assert.match(stderr, reason);
}

const mirrorTo = (endpoint: string, more = ''): string => `mirrors:\n  docker.io:\n    endpoint: ["${endpoint}"]\n${more}`;

describe('the origin in the path of the endpoint', () => {
  it('keeps equal repository paths of two origins apart, by tag and by digest (E2)', async () => {
    const certs = await ours({ endpoints: [`http://${plain.host}`] });
    await finds(certs, DOCKER, images.docker);
    await finds(certs, GHCR, images.ghcr);
    assert.ok(
      plain.requests.every((line) => / \/v2\/ghcr\.io\/library\/tool\/.*\?ns=ghcr\.io$/.test(line)),
      plain.requests.join('\n'),
    );
    await finds(certs, `ghcr.io/library/tool@${images.ghcr.digest}`, images.ghcr);
    await finds(certs, `${GHCR}@${images.ghcr.digest}`, images.ghcr);
  });

  it('is not there: two origins are one image, without an error; we say so (E1)', async () => {
    const yaml = `mirrors:\n  docker.io: {endpoint: ["http://${plain.host}"]}\n  ghcr.io: {endpoint: ["http://${plain.host}"]}\n`;
    const certs = await derive(yaml);
    await finds(certs, DOCKER, images.bare);
    await finds(certs, GHCR, images.bare);
    const warnings = lintRegistries(parseRegistriesYaml(yaml, 'registries.yaml').registries);
    assert.ok(warnings.some(({ message }) => message.includes('become the same image, without an error')));
  });

  const wrong: readonly [string, string][] = [
    ['without /v2 before it', '/docker.io'],
    ['with /v2 behind it', '/docker.io/v2'],
    ['misspelt', '/v2/docker.io.example'],
  ];
  for (const [what, path] of wrong)
    it(`${what} finds nothing at the mirror`, async () => {
      await fails(await derive(mirrorTo(`http://${plain.host}${path}`)), DOCKER, /registry-1\.docker\.io/);
      assert.ok(plain.requests.length > 0, 'the mirror was asked first');
    });

  it('of another origin gives its image, which only the check of digests sees', async () => {
    const certs = await derive(mirrorTo(`http://${plain.host}/v2/ghcr.io`));
    await finds(certs, DOCKER, images.ghcr);
    const { registries } = parseRegistriesYaml(mirrorTo(`http://${plain.host}/v2/ghcr.io`), 'registries.yaml');
    const results = await check(registries);
    assert.ok(results.every(({ ok, fault }) => !ok && (fault === 'other digest' || fault === 'not in the mirror')));
  });

  it('as a rewrite is ignored by every containerd but that of k3s, so we never write one (E3)', async () => {
    const certs = await derive(mirrorTo(`http://${plain.host}`, '    rewrite: {"^(.*)$": "docker.io/${1}"}\n'));
    await finds(certs, DOCKER, images.bare);
    assert.ok(plain.requests.every((line) => line.includes('/v2/library/tool/')));
  });
});

/** Asks for the image of docker.io as `bundle mirrors --check` does. */
function check(registries: Parameters<typeof checkMirrors>[0]['registries']): Promise<CheckResult[]> {
  const spawn = createSpawn({ HOME: folder, PATH: process.env.PATH, ...outside.env });
  return checkMirrors({
    registries,
    references: [{ origin: 'docker.io', repository: 'library/tool', tag: '1.0', digest: images.docker.digest }],
    asker: { kind: 'ctr', command: [tool('ctr')], spawn, fs: nodeFileSystem, temporaryDirectory: folder },
  });
}

describe('names and the files that containerd looks for', () => {
  it('a name with a port is found as host_port_', async () => {
    const certs = await ours({ origins: ['127.0.0.1:9', 'reg.example:5000'], endpoints: [`http://${plain.host}`] });
    await plain.put('reg.example_5000/a/b', '1', images.ghcr);
    await plain.put('127.0.0.1_9/a/b', '1', images.docker);
    await finds(certs, 'reg.example:5000/a/b:1', images.ghcr);
    await finds(certs, '127.0.0.1:9/a/b:1', images.docker);
  });

  it('an IPv6 address with a port is found too', async () => {
    const certs = await ours({ origins: ['[fd00::1]:5000'], endpoints: [`http://${plain.host}`] });
    await plain.put('fd00--1_5000/a/b', '1', images.ghcr);
    await finds(certs, '[fd00::1]:5000/a/b:1', images.ghcr);
  });

  it('an entry without the port is not used for a name with one', async () => {
    const certs = await derive(`mirrors:\n  reg.example: {endpoint: ["http://${plain.host}/v2/docker.io"]}\n`);
    await fails(certs, 'reg.example:5000/library/tool:1.0', /reg\.example:5000/);
    assert.deepEqual(plain.requests, []);
    assert.ok(outside.asked().includes('reg.example:5000'));
  });

  it('"*" is used for registries without an entry of their own only, and mixes up all of them', async () => {
    const certs = await derive(
      `mirrors:\n  "*": {endpoint: ["http://${plain.host}"]}\n  ghcr.io: {endpoint: ["http://${plain.host}/v2/ghcr.io"]}\n`,
    );
    await finds(certs, GHCR, images.ghcr);
    await finds(certs, DOCKER, images.bare);
    await finds(certs, 'quay.io/library/tool:1.0', images.bare);
  });

  it('a registry that is not listed is asked itself, which is why every origin of a bundle gets an entry', async () => {
    const certs = await ours({ origins: ['docker.io'], endpoints: [`http://${plain.host}`] });
    await fails(certs, 'quay.io/library/tool:1.0', /quay\.io/);
    assert.deepEqual([...new Set(outside.asked())], ['quay.io:443']);
    assert.deepEqual(plain.requests, []);
  });

  it('a pod that names the target itself needs an entry of its own, for plain HTTP and for the CA (k3s#145)', async (t) => {
    // Loopback has rules of its own in containerd, so the target gets a name, which the proxy leads to it.
    const node = await startOutside(createScope(t), { 'node-1:5000': plain.host, 'node-1:5443': secure.host });
    const reach = async (port: number, wishes: Partial<MirrorWishes>) => {
      const name = `node-1:${port}/docker.io/library/tool:1.0`;
      const { code, stdout, stderr } = await resolveByCtr(await ours(wishes), name, { HOME: folder, ...node.env });
      return code === 0 ? digestOfBytes(stdout) : stderr;
    };
    const http = { endpoints: ['http://node-1:5000'] };
    const https = { endpoints: ['https://node-1:5443'], tls: { caFile } };
    assert.match(await reach(5000, { ...http, directNames: false }), /server gave HTTP response to HTTPS client/);
    assert.match(await reach(5443, { endpoints: https.endpoints }), /unknown authority/);
    assert.equal(await reach(5000, http), images.docker.digest);
    assert.equal(await reach(5443, https), images.docker.digest);
  });

  it('endpoints are tried in their order, the next when one is down', async () => {
    const certs = await ours({ endpoints: ['http://127.0.0.1:9', `http://${plain.host}`] });
    await finds(certs, DOCKER, images.docker);
    const both = await ours({ endpoints: [`http://${plain.host}`, `https://${secure.host}`], tls: { caFile } });
    await finds(both, DOCKER, images.docker);
    assert.deepEqual(secure.requests, []);
  });

  it('an endpoint given twice is written once: twice, containerd drops the file', async () => {
    const url = `http://${plain.host}/v2/docker.io`;
    const table = `[host."${url}"]\n  capabilities = ["pull", "resolve"]\n  override_path = true\n`;
    await fails(
      await raw({ 'docker.io': `server = "https://registry-1.docker.io/v2"\n[host]\n${table}${table}` }),
      DOCKER,
      /toml|docker\.io/i,
    );
    assert.deepEqual(plain.requests, []);
    await finds(await ours({ endpoints: [`http://${plain.host}`, `http://${plain.host}`] }), DOCKER, images.docker);
  });

  it('a file that can not be decoded is dropped whole and the origin asked; ours has the [host] table that older ones insist on (k3s#9983)', async () => {
    await fails(
      await raw({ 'docker.io': `server = "http://${plain.host}/v2/docker.io"\nhost = 3\n` }),
      DOCKER,
      /failed to decode/,
    );
    assert.deepEqual([...new Set(outside.asked())], ['registry-1.docker.io:443']);
    const registries = desiredMirrors({ origins: ['docker.io'], endpoints: [`http://${plain.host}`], directNames: true });
    for (const text of renderHostsToml(registries).values()) assert.match(text, /^\[host\]$/m);
  });
});

describe('when the mirror does not have it', () => {
  it('the origin is asked last, and who has not got it remains untold; --check asks the mirror alone and tells its 404 (E4)', async () => {
    const empty = await testRegistry(scope);
    const wishes: MirrorWishes = { origins: ['docker.io'], endpoints: [`http://${empty.host}`], directNames: true };
    const { stderr, digest } = await resolved(await ours(wishes), DOCKER);
    assert.equal(digest, undefined);
    assert.ok(empty.requests.length > 0);
    assert.deepEqual([...new Set(outside.asked())], ['registry-1.docker.io:443']);
    assert.match(stderr.trim().split('\n').at(-1) ?? '', /^ctr: docker\.io\/library\/tool:1\.0: not found$/);
    outside.forget();
    const results = await check(desiredMirrors(wishes));
    assert.deepEqual(
      results.map(({ by, ok, fault }) => [by, ok, fault]),
      [
        ['tag', false, 'not in the mirror'],
        ['digest', false, 'not in the mirror'],
      ],
    );
    assert.deepEqual(outside.asked(), [], 'the check asks the mirror alone');
  });

  it("upstream's containerd asks the origin even where k3s was told not to: only its own build honours that", async () => {
    const empty = await testRegistry(scope);
    const certs = await derive(mirrorTo(`http://${empty.host}/v2/docker.io`), { disableDefaultEndpoint: true });
    await fails(certs, DOCKER, /docker\.io/);
    assert.notDeepEqual(outside.asked(), []);
  });
});

describe('schemes, certificates and logins', () => {
  const trusting = (key: string, tls = `ca_file: "${caFile}"`): string => `configs:\n  "${key}": {tls: {${tls}}}\n`;

  it('https for a registry that speaks plain HTTP is "server gave HTTP response to HTTPS client"', () =>
    checkFails(`https://${plain.host}`, /server gave HTTP response to HTTPS client/));

  it('http for a registry that speaks TLS finds nothing', () => checkFails(`http://${secure.host}`, /HTTP|EOF|400/));

  async function checkFails(endpoint: string, reason: RegExp, tls?: MirrorWishes['tls']): Promise<void> {
    const wishes: MirrorWishes = { origins: ['docker.io'], endpoints: [endpoint], directNames: true, ...(tls ? { tls } : {}) };
    const results = await check(desiredMirrors(wishes));
    assert.ok(results.length === 2 && results.every(({ ok }) => !ok));
    assert.match(results.map(({ detail }) => detail).join('\n'), reason);
    assert.equal((await resolved(await ours(wishes), DOCKER)).digest, undefined);
  }

  it('insecure_skip_verify does not mean plain HTTP (E5, k3s#13379)', () =>
    checkFails(`https://${plain.host}`, /server gave HTTP response to HTTPS client/, { insecureSkipVerify: true }));

  it('an http endpoint gets no tls from us: with it containerd would try https first', async () => {
    const certs = await ours({ endpoints: [`http://${plain.host}`], tls: { caFile } });
    await finds(certs, DOCKER, images.docker);
    const { stderr } = await resolved(certs, DOCKER);
    assert.doesNotMatch(stderr, /try HTTPS first/);
    const theirs = await derive(`${mirrorTo(`http://${plain.host}/v2/docker.io`)}${trusting(plain.host)}`);
    assert.match((await resolved(theirs, DOCKER)).stderr, /try HTTPS first/);
  });

  it('the CA stands under host and port of the endpoint; not without the port, as a URL, or under the origin (k3s#13215)', async () => {
    const mirror = mirrorTo(`https://${secure.host}/v2/docker.io`);
    await finds(await derive(mirror + trusting(secure.host)), DOCKER, images.docker);
    await finds(await ours({ endpoints: [`https://${secure.host}`], tls: { caFile } }), DOCKER, images.docker);
    for (const key of ['127.0.0.1', `https://${secure.host}`, 'docker.io', '*'])
      await fails(await derive(mirror + trusting(key)), DOCKER, /registry-1\.docker\.io|unknown authority/);
  });

  it('insecure_skip_verify under host and port of the endpoint does skip', async () => {
    await finds(
      await ours({ endpoints: [`https://${misnamed.host}`], tls: { insecureSkipVerify: true } }),
      DOCKER,
      images.docker,
    );
  });

  it('a certificate for another name is refused', () => checkFails(`https://${misnamed.host}`, /x509|certificate/, { caFile }));

  it('logins are in no hosts.toml; containerd has them from its own configuration, and a wrong one fails', async (t) => {
    const own = createScope(t);
    const wishes = { endpoints: [`http://${guarded.host}`], nodeAuth: { username: LOGIN.user, password: LOGIN.password } };
    const certsDir = await ours(wishes);
    for (const text of renderHostsToml(desiredMirrors({ origins: ['docker.io'], directNames: true, ...wishes })).values())
      assert.doesNotMatch(text, /secret|c2VjcmV0|authorization/i);
    const pull = async (password: string | undefined) => {
      const logins = password === undefined ? {} : { [guarded.host]: { user: LOGIN.user, password } };
      return (await startContainerd(own, { certsDir, logins, env: outside.env })).criPull(DOCKER);
    };
    assert.notEqual((await pull(undefined)).status, 0);
    assert.notEqual((await pull('wrong')).status, 0);
    assert.deepEqual(await pull(LOGIN.password), { status: 0, message: '' });
  });
});

describe('a running containerd', () => {
  it('reads hosts.toml anew for each pull: only k3s needs a restart, to write them', async (t) => {
    const own = createScope(t);
    const certsDir = await raw({});
    const containerd = await startContainerd(own, { certsDir, env: outside.env });
    assert.notEqual((await containerd.criPull(DOCKER)).status, 0);
    const registries = desiredMirrors({ origins: ['docker.io'], endpoints: [`http://${plain.host}`], directNames: false });
    await writeCertsDir(certsDir, Object.fromEntries(renderHostsToml(registries)));
    assert.deepEqual(await containerd.criPull(DOCKER), { status: 0, message: '' });
    assert.equal(await containerd.digestOf('k8s.io', DOCKER), images.docker.digest);
  });

  it('has the blobs of a digest once: under a second name it downloads none, so pulls are tested with fresh ones', async (t) => {
    const own = createScope(t);
    const certsDir = await ours({ endpoints: [`http://${plain.host}`] });
    const containerd = await startContainerd(own, { certsDir });
    await plain.put('ghcr.io/other/name', '1', images.docker);
    assert.equal((await containerd.pull(DOCKER)).code, 0);
    plain.clear();
    assert.equal((await containerd.pull('ghcr.io/other/name:1')).code, 0);
    assert.deepEqual(
      plain.requests.filter((line) => line.includes('/blobs/')),
      [],
    );
  });
});
