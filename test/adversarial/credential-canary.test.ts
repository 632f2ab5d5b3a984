/**
 * Promise 6, whole commands: secrets that can be told from everything else are given to pull and load, whose registry sends them everywhere. They reach
 * the host they are for and nobody else, and are in no output, no bundle, no lock and no state.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { type Journey, journey, type Ran } from '../support/command-journey.ts';
import { type FaultRegistry, type Switches, startFaultRegistry } from '../support/fault-registry.ts';
import { randomImage } from '../support/random-image.ts';

const PASSWORD = 'canary-password-4711';
const REFRESH = 'canary-refresh-4712';
const BASIC = Buffer.from(`alice:${PASSWORD}`).toString('base64');
const SECRETS = [
  PASSWORD,
  REFRESH,
  BASIC,
  encodeURIComponent(BASIC),
  Buffer.from(PASSWORD).toString('base64').replace(/=+$/, ''),
];

const bearer: Partial<Switches> = { auth: 'bearer', anonymousPull: false };
const basic: Partial<Switches> = { auth: 'basic', anonymousPull: false };

/** What an origin or a target does to get at them. */
const READING: Readonly<Record<string, Partial<Switches>>> = {
  'is good (Basic)': basic,
  'is good (Bearer)': bearer,
  'names the token service of a stranger': { ...bearer, realmHost: 'elsewhere' },
  'names a token service at a private address': { ...bearer, realmHost: 'private-ip' },
  'names a file as token service': { ...bearer, realmHost: 'file' },
  'names a token service on another port': { ...bearer, realmHost: 'other' },
  'asks for ever': { ...bearer, authLoop: true },
  'asks for ever (Basic)': { ...basic, authLoop: true },
  'says that the password is wrong': { ...bearer, staleCreds: '403', missing: 'token-403', privateRepositories: ['team/app'] },
  'names another token service once the token is old': { ...bearer, expired: '401-other-realm', tokenLifeMs: 0 },
  'sends blobs elsewhere': { ...bearer, blob: '307-s3' },
  'sends blobs to a host that asks for a login': { ...bearer, blob: '307-foreign-401' },
  'sends blobs away and back': { ...bearer, blob: '307-there-and-back' },
  'sends blobs in a ring of hosts': { ...basic, blob: 'ring-hosts' },
  'sends blobs to a private address': { ...basic, blob: '307-private-ip' },
  'offers Basic beside Bearer': { ...bearer, challenge: 'gitea' },
  'offers Basic first': { ...bearer, challenge: 'one-line' },
};
const WRITING: Readonly<Record<string, Partial<Switches>>> = {
  'is good (Basic)': basic,
  'is good (Bearer)': bearer,
  'names the token service of a stranger': { ...bearer, realmHost: 'elsewhere' },
  'wants the bytes elsewhere': { ...bearer, location: 'other-host' },
  'wants the bytes elsewhere, where they would be taken': { ...basic, location: 'other-host-works' },
  'asks for ever': { ...basic, authLoop: true },
  'names another token service once the token is old': { ...bearer, expired: '401-other-realm', tokenLifeMs: 0 },
};

const filesBelow = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isFile());

/** @param ours files that hold the secrets because the test put them there */
function requireSecret(j: Journey, registry: FaultRegistry, ran: Ran, what: string, ours: readonly string[]): void {
  assert.deepEqual(
    registry.leaks().map((r) => `${r.at}: ${r.method} ${r.url}`),
    [],
    `${what}: a credential went where it has no business`,
  );
  const tokens = registry.requests.flatMap((r) => /^Bearer (.+)$/.exec(r.headers.authorization ?? '')?.[1] ?? []);
  const secrets = [...SECRETS, ...tokens];
  for (const secret of secrets) assert.ok(!`${ran.stdout}${ran.stderr}`.includes(secret), `${what}: a secret was said`);
  for (const path of filesBelow(j.dir)) {
    if (ours.includes(path)) continue;
    const text = readFileSync(path, 'latin1');
    for (const secret of secrets) assert.ok(!text.includes(secret), `${what}: a secret is in ${path}`);
  }
}

/** Flags with which the command line says most, by turns. */
const LOUD = [['-v'], ['--json'], ['--progress', 'json', '-v']] as const;

async function withLogin(t: TestContext) {
  const j = await journey(t);
  const registry = await startFaultRegistry(t, { users: { alice: { password: PASSWORD, push: true, identityToken: REFRESH } } });
  j.allowPlainHttp(registry.host);
  const authFile = j.path('auth.json');
  const login = (kind: 'auth' | 'identitytoken'): void =>
    writeFileSync(
      authFile,
      JSON.stringify({ auths: { [registry.host]: kind === 'auth' ? { auth: BASIC } : { identitytoken: REFRESH } } }),
    );
  return { j, registry, authFile, login, calm: { ...registry.switches } };
}

it('an origin that wants the credentials for somebody else does not get them there, and nothing that is said or written has them', async (t) => {
  const { j, registry, authFile, login, calm } = await withLogin(t);
  registry.add('team/app', '1.0', await randomImage({ files: 1, bytes: 800, layers: 1 }));
  const codes = new Map<number, number>();
  let n = 0;
  for (const [what, switches] of Object.entries(READING)) {
    for (const kind of ['auth', 'identitytoken'] as const) {
      login(kind);
      registry.clear();
      Object.assign(registry.switches, calm, switches);
      const file = await j.manifest(`m${++n}`, `images: ["${registry.host}/team/app:1.0"]`);
      const flags = LOUD[n % LOUD.length] as readonly string[];
      const ran = await j.pull(file, '-o', j.path(`bundle-${n}`), '--authfile', authFile, ...flags);
      assert.ok([0, 4].includes(ran.code), `${what}, ${kind}: ended with ${ran.code}: ${ran.stderr}`);
      if (what.startsWith('is good') && kind === 'auth') assert.equal(ran.code, 0, ran.stderr);
      codes.set(ran.code, (codes.get(ran.code) ?? 0) + 1);
      requireSecret(j, registry, ran, `${what}, ${kind}`, [authFile]);
    }
  }
  t.diagnostic(`${n} pulls: ${[...codes].map(([code, times]) => `exit ${code}: ${times}`).join(', ')}`);
});

it('a target that wants the credentials or the bytes for somebody else does not get them there', async (t) => {
  const { j, registry, authFile, login, calm } = await withLogin(t);
  const [{ host, put }] = j.origins;
  await put('team/app', '1.0', await randomImage({ files: 1, bytes: 800, layers: 1 }));
  assert.equal((await j.pull(await j.manifest('lumen', `images: ["${host}/team/app:1.0"]`))).code, 0);
  let n = 0;
  for (const [what, switches] of Object.entries(WRITING)) {
    login('auth');
    registry.clear();
    registry.storage.repositories.clear();
    Object.assign(registry.switches, calm, switches);
    const flags = [...(LOUD[n % LOUD.length] as readonly string[]), '--authfile', authFile, '--skip-mirrors'];
    const ran = await j.load(j.bundle, '--registry', registry.host, '--state', j.path(`state-${++n}`), ...flags);
    assert.ok([0, 4, 9].includes(ran.code), `${what}: ended with ${ran.code}: ${ran.stderr}`);
    if (what.startsWith('is good')) assert.equal(ran.code, 0, ran.stderr);
    requireSecret(j, registry, ran, what, [authFile]);
    for (const at of ['cdn', 'cdn2', 'elsewhere', 'plain'] as const)
      assert.deepEqual(
        registry.requests.filter((r) => r.at === at && r.bytesReceived > 0),
        [],
        `${what}: bytes went elsewhere`,
      );
  }
  t.diagnostic(`${n} loads`);
});

it('a password in the address of an image list is in no message, and the lock that failed is not written', async (t) => {
  const j = await journey(t);
  const registry = await startFaultRegistry(t);
  j.allowPlainHttp(registry.host);
  for (const address of [
    `http://robot:${PASSWORD}@${registry.host}/list.txt`,
    `http://${registry.host}/list.txt?token=${PASSWORD}`,
  ]) {
    registry.clear();
    const file = await j.manifest('listed', `imageLists: ["${address}"]`);
    const ran = await j.lock(file, '-v');
    assert.notEqual(ran.code, 0);
    requireSecret(j, registry, ran, address, [file]);
  }
});

it('no file of a bundle holds a private key: FAT keeps no modes', async (t) => {
  const j = await journey(t);
  const [{ host, put }] = j.origins;
  await put('team/app', '1.0', await randomImage({ files: 1, bytes: 800, layers: 1 }));
  assert.equal((await j.pull(await j.manifest('lumen', `images: ["${host}/team/app:1.0"]`))).code, 0);
  const key = readFileSync(j.key.key, 'utf8').split('\n')[1] as string;
  const files = filesBelow(j.bundle);
  assert.ok(files.length > 8);
  for (const path of files) {
    const text = readFileSync(path, 'latin1');
    assert.ok(!/PRIVATE KEY/.test(text) && !text.includes(key), path);
    // Everything is readable for everybody: nothing in it is a secret.
    assert.equal(statSync(path).mode & 0o444, 0o444, path);
  }
});
