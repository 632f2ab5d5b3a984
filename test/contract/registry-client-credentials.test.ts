import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import type { HelperRunner } from '../../src/registry/credential-helper.ts';
import { createCredentialStore } from '../../src/registry/credentials.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { type HelperKind, writeCredentialHelper } from '../support/credential-helper.ts';
import { type Ending, tempDir } from '../support/temp-dir.ts';
import { ALICE, setUp } from './registry-client-harness.ts';

const auth = (user: string, password: string) => ({ auth: Buffer.from(`${user}:${password}`).toString('base64') });

type Files = Readonly<Record<string, unknown>>;

/** A home with these files, and a store that looks there. */
async function home(
  t: Ending,
  files: Files,
  options: { authFile?: string; run?: HelperRunner; env?: Record<string, string> } = {},
) {
  const directory = await tempDir(t);
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true });
    await writeFile(join(directory, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  const warnings: string[] = [];
  const { authFile, run, env } = options;
  const store = createCredentialStore(
    nodeFileSystem,
    { HOME: directory, PATH: `${directory}:/usr/bin:/bin`, ...env },
    {
      warn: (text) => warnings.push(text),
      ...(run ? { run } : {}),
      ...(authFile ? { authFile: join(directory, authFile) } : {}),
    },
  );
  return { directory, store, warnings };
}

const DOCKER = '.docker/config.json';
const PODMAN = '.config/containers/auth.json';
const userOf = (found: unknown): string | undefined => (found as { username?: string } | undefined)?.username;

describe('credentials in files', () => {
  it('docker.io is found under all its names, and nothing else is', async (t) => {
    for (const key of ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io', 'registry-1.docker.io']) {
      const { store } = await home(t, { [DOCKER]: { auths: { [key]: auth('hub', 'p') } } });
      assert.equal(userOf(await store.find('docker.io', 'library/x')), 'hub', key);
      assert.equal(await store.find('docker.io.x', 'library/x'), undefined);
    }
  });

  it('hosts are compared whole: evil-ghcr.io, ghcr.io.evil and another port get nothing', async (t) => {
    const { store } = await home(t, {
      [DOCKER]: { auths: { 'ghcr.io': auth('gh', 'p'), 'https://h:5000/v1/': auth('old', 'p') } },
    });
    for (const origin of ['evil-ghcr.io', 'ghcr.io.evil', 'ghcr.io:5000', 'hcr.io', 'h', 'h:50001'])
      assert.equal(await store.find(origin, 'a/b'), undefined, origin);
    assert.equal(userOf(await store.find('ghcr.io', 'a/b')), 'gh');
    assert.equal(userOf(await store.find('h:5000', 'a/b')), 'old');
  });

  it('the password begins after the first colon, and may hold more of them', async (t) => {
    const { store } = await home(t, { [DOCKER]: { auths: { h: auth('1234567|name', 'a:b:$c') } } });
    const found = await store.find('h', 'x');
    assert.deepEqual([userOf(found), (found as unknown as { password: string }).password], ['1234567|name', 'a:b:$c']);
  });

  it('podman: the longest path wins, part by part', async (t) => {
    const auths = { h: auth('host', 'p'), 'h/a': auth('a', 'p'), 'h/a/b': auth('b', 'p') };
    const { store } = await home(t, { [PODMAN]: { auths } });
    for (const [repository, user] of [
      ['a/b/c', 'b'],
      ['a/b', 'b'],
      ['a/bc', 'a'],
      ['ab', 'host'],
    ] as const)
      assert.equal(userOf(await store.find('h', repository)), user, repository);
  });

  it('podman before docker; --authfile and REGISTRY_AUTH_FILE alone; DOCKER_AUTH_CONFIG before all', async (t) => {
    const files = {
      [DOCKER]: { auths: { h: auth('docker', 'p') } },
      [PODMAN]: { auths: { h: auth('podman', 'p') } },
      'mine.json': { auths: { h: auth('mine', 'p') } },
    };
    assert.equal(userOf(await (await home(t, files)).store.find('h', 'x')), 'podman');
    assert.equal(userOf(await (await home(t, files, { authFile: 'mine.json' })).store.find('h', 'x')), 'mine');
    const env = { DOCKER_AUTH_CONFIG: JSON.stringify({ auths: { h: auth('env', 'p') } }) };
    assert.equal(userOf(await (await home(t, files, { env })).store.find('h', 'x')), 'env');
  });

  it('a file that is broken is an error and never "no credentials"; its content is not shown', async (t) => {
    for (const content of [
      '{"auths": {"h": {"auth": "c2VjcmV0LWNhbmFyeQ=="}}',
      '[]',
      'secret-canary',
      '{"auths":{"h":{"auth":"c2VjcmV0LWNhbmFyeQ=="}}}',
    ]) {
      const { store } = await home(t, { [DOCKER]: content });
      const error = await rejectsWith(store.find('h', 'x'), 'E_CREDENTIALS_FILE', /config\.json/);
      assert.doesNotMatch(error.message, /canary|c2VjcmV0/);
    }
  });

  it('an --authfile that is not there is an error', async (t) => {
    const { store } = await home(t, {}, { authFile: 'none.json' });
    await rejectsWith(store.find('h', 'x'), 'E_CREDENTIALS_FILE', /none\.json/);
  });

  it('identity and registry tokens are told apart', async (t) => {
    const auths = { i: { identitytoken: 'id' }, r: { registrytoken: 'rt' }, empty: {} };
    const { store } = await home(t, { [DOCKER]: { auths } });
    assert.equal((await store.find('i', 'x'))?.kind, 'identity');
    assert.equal((await store.find('r', 'x'))?.kind, 'registry');
    assert.equal(await store.find('empty', 'x'), undefined);
  });
});

describe('credential helpers', () => {
  const withHelper = async (t: Ending, kind: HelperKind) => {
    const made = await home(t, { [DOCKER]: { auths: { h: auth('file', 'p') }, credHelpers: { h: 'test' } } });
    const helper = await writeCredentialHelper(made.directory, 'test', { kind, username: 'alice', secret: 'helper-canary' });
    return { ...made, helper };
  };

  it('ok: user and secret, asked once for many images', async (t) => {
    const { store, helper } = await withHelper(t, 'ok');
    const found = await Promise.all(['a', 'b', 'c'].map((repository) => store.find('h', repository)));
    assert.deepEqual(found.map(userOf), ['alice', 'alice', 'alice']);
    assert.deepEqual(await helper.calls(), ['get h']);
  });

  it('token: an identity token', async (t) => {
    const { store } = await withHelper(t, 'token');
    const found = await store.find('h', 'a');
    assert.deepEqual([found?.kind, (found as { token?: string }).token], ['identity', 'helper-canary']);
  });

  it('notfound: goes on in silence', async (t) => {
    const { store, warnings } = await withHelper(t, 'notfound');
    await store.find('h', 'a');
    assert.deepEqual(warnings, []);
  });

  for (const kind of ['error', 'garbage', 'flood'] as const) {
    it(`${kind}: a warning that names the helper and shows nothing of its output`, async (t) => {
      const { store, warnings } = await withHelper(t, kind);
      await store.find('h', 'a');
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? '', /docker-credential-test/);
      assert.doesNotMatch(warnings[0] ?? '', /canary|keychain is locked/);
    });
  }

  it('absent: a warning, and other hosts go on', async (t) => {
    const { store, warnings } = await home(t, { [DOCKER]: { auths: { h: auth('file', 'p') }, credHelpers: { other: 'gone' } } });
    await store.find('other', 'a');
    assert.match(warnings[0] ?? '', /docker-credential-gone is not installed/);
    assert.equal(userOf(await store.find('h', 'a')), 'file');
  });

  it('one that is there but may not be run: the warning does not say it is missing', async (t) => {
    const made = await home(t, { [DOCKER]: { credsStore: 'locked' }, 'docker-credential-locked': '#!/bin/sh\n' });
    assert.equal(await made.store.find('h', 'a'), undefined);
    assert.match(made.warnings[0] ?? '', /docker-credential-locked could not be started \(EACCES\)/);
  });

  it('a secret whose letters come in pieces is put together', async (t) => {
    const made = await home(t, { [DOCKER]: { credsStore: 'slow' } });
    const script = `#!/bin/sh\nprintf '{"Username":"u","Secret":"p\\303'; sleep 0.2; printf '\\244ss"}'\n`;
    await writeFile(join(made.directory, 'docker-credential-slow'), script, { mode: 0o755 });
    assert.equal(((await made.store.find('h', 'a')) as { password?: string }).password, 'päss');
  });

  it('hang: a warning when its time is over', async (t) => {
    const run: HelperRunner = async () => ({ code: null, stdout: 'helper-canary', timedOut: true });
    const { store, warnings } = await home(t, { [DOCKER]: { credsStore: 'slow' } }, { run });
    assert.equal(await store.find('h', 'a'), undefined);
    assert.match(warnings[0] ?? '', /docker-credential-slow did not answer in time/);
  });

  it('docker.io is asked for under the key that docker uses', async (t) => {
    const made = await home(t, { [DOCKER]: { credsStore: 'test' } });
    const helper = await writeCredentialHelper(made.directory, 'test', { kind: 'ok' });
    await made.store.find('docker.io', 'library/redis');
    assert.deepEqual(await helper.calls(), ['get https://index.docker.io/v1/']);
  });

  it('a name that is a path is refused and not run', async (t) => {
    const { store } = await home(t, { [DOCKER]: { credsStore: '../../bin/sh' } });
    await rejectsWith(store.find('h', 'a'), 'E_CREDENTIALS_FILE');
  });
});

describe('from the file to the registry', () => {
  it('a login in config.json pulls from a private repository', async (t) => {
    const made: { store?: Awaited<ReturnType<typeof home>>['store'] } = {};
    const setup = await setUp(t, {
      switches: { auth: 'bearer', anonymousPull: false },
      client: { credentials: { find: async (origin, repository) => made.store?.find(origin, repository) } },
    });
    made.store = (await home(t, { [DOCKER]: { auths: { [setup.origin]: auth('alice', ALICE.password) } } })).store;
    assert.equal((await setup.client.getManifest(setup.origin, 'a/b', 'v1')).digest, setup.image.digest);
  });
});
