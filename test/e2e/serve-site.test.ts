/** `bundle serve --writable`: the registry of a site, through the real command line. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { hash } from 'bcryptjs';
import { run as runCommand } from '../../src/cli/run.ts';
import { digestOf } from '../../src/core/digest.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { type Journey, journey, type Ran, statementOf } from '../support/command-journey.ts';
import { randomIndex } from '../support/random-image.ts';

const PASSWORD = 'canary-p4ssw0rd';
const DAY = 86_400_000;

type Site = Readonly<{
  url: string;
  host: string;
  said: Readonly<{ ca?: { path: string; sha256: string }; metrics?: string }>;
  hangup(): void;
  stderr(): string;
  stop(): Promise<Ran>;
}>;

/** Runs `bundle serve --writable` in this process until the test ends. */
async function site(
  t: TestContext,
  j: Journey,
  argv: readonly string[],
  options: { now?: () => number; minFree?: string } = {},
): Promise<Site> {
  const abort = new AbortController();
  const said = Promise.withResolvers<string>();
  const out = { stdout: '', stderr: '' };
  let hangup: () => void = () => undefined;
  const ended = runCommand(
    [
      'serve',
      '--writable',
      j.path('store'),
      '--listen',
      '127.0.0.1:0',
      '--json',
      '--grace',
      '5s',
      '--min-free',
      options.minFree ?? '0',
      ...argv,
    ],
    {
      fs: nodeFileSystem,
      env: {},
      stdout(text) {
        out.stdout += text;
        said.resolve(text);
      },
      stderr(text) {
        out.stderr += text;
      },
      stderrIsTerminal: false,
      terminalWidth: () => 100,
      now: options.now ?? Date.now,
      signal: abort.signal,
      longRunning: {
        onHangup(listener) {
          hangup = listener;
        },
        endWithin: () => undefined,
        async write(_, bytes) {
          out.stdout += Buffer.from(bytes).toString();
        },
      },
    },
  ).then((code): Ran => ({ code, ...out, json: () => JSON.parse(out.stdout) }));
  const stop = (): Promise<Ran> => {
    abort.abort('SIGTERM');
    return ended;
  };
  t.after(async () => void (await stop()));
  const first = await Promise.race([said.promise, ended.then((ran) => assert.fail(`it ended with ${ran.code}: ${ran.stderr}`))]);
  const document = JSON.parse(first);
  const { url } = document;
  return { url, host: url.replace(/^https?:\/\//, ''), said: document, hangup: () => hangup(), stderr: () => out.stderr, stop };
}

async function htpasswd(j: Journey, users: Record<string, string>): Promise<string> {
  const lines = await Promise.all(Object.entries(users).map(async ([user, password]) => `${user}:${await hash(password, 4)}\n`));
  writeFileSync(j.path('users'), lines.join(''));
  return j.path('users');
}

const login = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
});
const authfile = (j: Journey, host: string, user: string, password: string): string => {
  const auths = { [host]: { auth: Buffer.from(`${user}:${password}`).toString('base64') } };
  writeFileSync(j.path('auth.json'), JSON.stringify({ auths }));
  return j.path('auth.json');
};

async function pulled(t: TestContext) {
  const j = await journey(t);
  const [origin] = j.origins;
  const image = await randomIndex({ seed: 1, bytes: 50_000 });
  await origin.put('team/app', '1.0', image);
  assert.equal((await j.pull(await j.manifest('lumen', `images: [${origin.host}/team/app:1.0]`))).code, 0);
  return { j, image, repository: j.at(origin, 'team/app') };
}

describe('the registry of a site', () => {
  test('load pushes with a login over our own TLS; a restart keeps everything; nodes pull without a login', async (t) => {
    const { j, image, repository } = await pulled(t);
    const flags = ['--tls', 'self', '--htpasswd', await htpasswd(j, { release: PASSWORD }), '--anonymous-pull'];
    const first = await site(t, j, [...flags, '--access-log', j.path('log'), '--metrics', '127.0.0.1:0']);
    const ca = first.said.ca?.path ?? '';
    const load = (host: string, password: string) =>
      j.load(...['--registry', host, '--ca-file', ca, '--authfile', authfile(j, host, 'release', password), '--skip-mirrors']);
    const refused = await load(first.host, 'canary-wrong');
    assert.equal(refused.code, 4, refused.stderr);
    const loaded = await load(first.host, PASSWORD);
    assert.equal(loaded.code, 0, loaded.stderr);
    const figures = await (await fetch(first.said.metrics ?? '')).text();
    assert.match(figures, /bundle_registry_blobs [1-9]/);
    const ran = await first.stop();
    assert.equal(ran.code, 0, ran.stderr);

    const second = await site(t, j, flags);
    assert.equal(second.said.ca?.sha256, first.said.ca?.sha256);
    const again = await j.manifest('again', `images: [${second.host}/${repository}:1.0]`);
    const lock = await j.run(['pull', '-f', again, '-o', j.path('again'), '--key', j.key.key, '--ca-file', ca], {
      env: { BUNDLE_PLAIN_HTTP: '' },
    });
    assert.equal(lock.code, 0, lock.stderr);
    assert.equal(statementOf(j.path('again')).contents[0]?.targetDigest, image.digest);

    const log = readFileSync(j.path('log'), 'utf8');
    assert.match(log, /"user":"release"/);
    for (const [where, text] of Object.entries({
      log,
      figures,
      stderr: ran.stderr,
      stdout: ran.stdout,
      refused: refused.stderr,
    })) {
      assert.ok(!text.includes('canary'), `${where} has a password`);
      assert.ok(!text.includes(Buffer.from(`release:${PASSWORD}`).toString('base64')), `${where} has a password`);
    }
  });

  test('a second process on the same directory is told who has it, and does not touch it', async (t) => {
    const j = await journey(t);
    const first = await site(t, j, []);
    const second = await j.run(['serve', '--writable', j.path('store'), '--listen', '127.0.0.1:0']);
    assert.equal(second.code, 8, second.stderr);
    assert.match(second.stderr, /E_LOCKED/);
    assert.equal((await fetch(`${first.url}/readyz`)).status, 200);
  });

  test('a changed file of users counts after a signal, a broken one does not, and no connection is lost', async (t) => {
    const j = await journey(t);
    const users = await htpasswd(j, { ann: 'one' });
    const { url, hangup, stderr } = await site(t, j, ['--htpasswd', users]);
    const status = async (password: string) => (await fetch(`${url}/v2/`, { headers: login('ann', password) })).status;
    const until = async (password: string, wanted: number): Promise<void> => {
      for (let i = 0; i < 100 && (await status(password)) !== wanted; i++) await setTimeout(20);
      assert.equal(await status(password), wanted);
    };
    assert.deepEqual([await status('one'), await status('two')], [200, 401]);
    await htpasswd(j, { ann: 'two' });
    hangup();
    await until('two', 200);
    assert.equal(await status('one'), 401);
    appendFileSync(users, 'bob:canary-plain\n');
    hangup();
    for (let i = 0; i < 100 && stderr() === ''; i++) await setTimeout(20);
    assert.match(stderr(), /users:2: .*bcrypt.*stay/s);
    assert.ok(!stderr().includes('canary'));
    assert.equal(await status('two'), 200);
  });

  test('its own certificate is renewed while it runs, under the same CA, and running connections go on', async (t) => {
    const j = await journey(t);
    let now = Date.now();
    const { url, said, hangup } = await site(t, j, ['--tls', 'self', '--tls-name', 'node-1'], { now: () => now });
    const ca = new X509Certificate(readFileSync(said.ca?.path ?? ''));
    const dial = async () => {
      // By the clock of this machine the new one is not valid yet.
      const socket = tlsConnect({ host: '127.0.0.1', port: Number(new URL(url).port), rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      t.after(() => void socket.destroy());
      const leaf = new X509Certificate(socket.getPeerCertificate().raw);
      assert.ok(leaf.verify(ca.publicKey) && leaf.checkHost('node-1'));
      return { socket, expires: leaf.validToDate.getTime() };
    };
    const before = await dial();
    now += 380 * DAY;
    hangup();
    let after = await dial();
    for (let i = 0; i < 100 && after.expires === before.expires; i++) {
      await setTimeout(20);
      after = await dial();
    }
    assert.ok(after.expires > before.expires + 300 * DAY);
    before.socket.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    const [head] = await once(before.socket, 'data');
    assert.match(String(head), /^HTTP\/1\.1 200 /);
  });

  test('certificate files are taken when both halves fit, not before', async (t) => {
    const j = await journey(t);
    const { createCertificateAuthority } = await import('../support/certificates.ts');
    const ca = await createCertificateAuthority();
    const write = ({ cert, key }: { cert?: string; key?: string }): void => {
      for (const [name, text] of Object.entries({ crt: cert, key })) {
        if (text === undefined) continue;
        writeFileSync(j.path(`${name}.new`), text);
        renameSync(j.path(`${name}.new`), j.path(`tls.${name}`));
      }
    };
    const [one, two] = [await ca.server(), await ca.server()];
    write(one);
    const { url, hangup, stderr } = await site(t, j, ['--tls-cert', j.path('tls.crt'), '--tls-key', j.path('tls.key')]);
    const served = async (): Promise<string> => {
      const socket = tlsConnect({ host: '127.0.0.1', port: Number(new URL(url).port), ca: ca.cert });
      await once(socket, 'secureConnect');
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      return new X509Certificate(raw).fingerprint256;
    };
    const print = ({ cert }: { cert: string }): string => new X509Certificate(cert).fingerprint256;
    assert.equal(await served(), print(one));
    write({ cert: two.cert });
    hangup();
    for (let i = 0; i < 100 && stderr() === ''; i++) await setTimeout(20);
    assert.match(stderr(), /stays/);
    assert.equal(await served(), print(one));
    write({ key: two.key });
    hangup();
    for (let i = 0; i < 100 && (await served()) !== print(two); i++) await setTimeout(20);
    assert.equal(await served(), print(two));
  });

  test('manifests whose children are missing are taken, or refused with --complete-only', async (t) => {
    const j = await journey(t);
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        {
          mediaType: 'application/vnd.oci.image.manifest.v1+json',
          digest: `sha256:${'a'.repeat(64)}`,
          size: 5,
          platform: { os: 'linux', architecture: 'arm64' },
        },
      ],
    });
    const put = async (url: string) =>
      (
        await fetch(`${url}/v2/x/manifests/1`, {
          method: 'PUT',
          body: index,
          headers: { 'content-type': JSON.parse(index).mediaType },
        })
      ).status;
    const sparse = await site(t, j, []);
    assert.equal(await put(sparse.url), 201);
    assert.equal((await fetch(`${sparse.url}/v2/x/manifests/1`, { method: 'DELETE' })).status, 202);
    await sparse.stop();
    assert.equal(await put((await site(t, j, ['--complete-only'])).url), 400);
  });

  test('garbage is collected while it serves: what no manifest names goes after the grace, what one names stays', async (t) => {
    const j = await journey(t);
    const argv = ['--gc-every', '1s', '--gc-grace', '1s', '--metrics', '127.0.0.1:0'];
    const { url, said } = await site(t, j, argv);
    const push = async (text: string): Promise<string> => {
      const digest = digestOf(Buffer.from(text));
      const reply = await fetch(`${url}/v2/x/blobs/uploads/?digest=${digest}`, { method: 'POST', body: text });
      assert.equal(reply.status, 201);
      return digest;
    };
    const [kept, garbage] = [await push('{}'), await push('nobody wants this')];
    const config = { mediaType: 'application/vnd.oci.empty.v1+json', digest: kept, size: 2 };
    const type = 'application/vnd.oci.image.manifest.v1+json';
    const body = JSON.stringify({ schemaVersion: 2, mediaType: type, artifactType: 'a/b', config, layers: [config] });
    const put = await fetch(`${url}/v2/x/manifests/1`, { method: 'PUT', headers: { 'content-type': type }, body });
    assert.equal(put.status, 201);
    const status = async (digest: string) => (await fetch(`${url}/v2/x/blobs/${digest}`, { method: 'HEAD' })).status;
    // Not asked for meanwhile: an answer that it is there is a promise that it stays for the grace.
    const figures = async (): Promise<string> => (await fetch(said.metrics ?? '')).text();
    for (let i = 0; i < 200 && !(await figures()).includes('gc_removed_total{kind="blob"} 1'); i++) await setTimeout(50);
    assert.deepEqual([await status(garbage), await status(kept)], [404, 200]);
  });

  test('the floor refuses uploads, says so to whoever asks whether it is ready, and still serves', async (t) => {
    const j = await journey(t);
    const { url } = await site(t, j, ['--gc-every', '0'], { minFree: '90%' });
    const upload = await fetch(`${url}/v2/x/blobs/uploads/`, { method: 'POST' });
    const ready = await fetch(`${url}/readyz`);
    assert.equal(ready.status, 200);
    const { disk } = (await ready.json()) as { disk: string };
    // Only a disk that is empty by nine tenths takes it.
    assert.equal(disk === 'ok', upload.status === 202, `${disk}, ${upload.status}`);
  });
});

describe('what a slip must not do', () => {
  const usage = async (t: TestContext, ...argv: string[]): Promise<string> => {
    const j = await journey(t);
    writeFileSync(j.path('users'), `ann:${await hash('x', 4)}\n`);
    const words = argv.map((word) => word.replace('DIR', j.path('store')).replace('USERS', j.path('users')));
    const ran = await j.run(words, { env: { BUNDLE_INSECURE_ANONYMOUS_PUSH: 'true', BUNDLE_INSECURE_HTTP: 'true' } });
    assert.equal(ran.code, 2, `${argv.join(' ')}: ${ran.stderr}`);
    assert.equal(statSync(j.path('store'), { throwIfNoEntry: false }), undefined, 'nothing was made');
    return ran.stderr;
  };

  test('pushes by anybody, or passwords in the clear, must be said in so many words and never by environment', async (t) => {
    const open = ['serve', '--writable', 'DIR', '--listen', '0.0.0.0:0'];
    assert.match(await usage(t, ...open), /--insecure-anonymous-push/);
    assert.match(await usage(t, ...open, '--tls', 'self'), /--insecure-anonymous-push/);
    assert.match(await usage(t, ...open, '--htpasswd', 'USERS'), /--insecure-http/);
  });

  test('flags that contradict each other, or say nothing, are usage errors', async (t) => {
    for (const argv of [
      ['serve'],
      ['serve', 'lumen', '--writable', 'DIR'],
      ['serve', 'lumen', '--gc-every', '1h'],
      ['serve', '--writable', 'DIR', '--tls', 'self', '--tls-cert', 'x', '--tls-key', 'y'],
      ['serve', '--writable', 'DIR', '--tls-name', 'x'],
      ['serve', '--writable', 'DIR', '--tls', 'other'],
      ['serve', '--writable', 'DIR', '--push', 'ann=x'],
      ['serve', '--writable', 'DIR', '--anonymous-pull'],
      ['serve', '--writable', 'DIR', '--htpasswd', 'USERS', '--push', 'eve=x'],
      ['serve', '--writable', 'DIR', '--htpasswd', 'DIR/none'],
      ['serve', '--writable', 'DIR', '--gc-every', '30d'],
      ['serve', '--writable', 'DIR', '--min-free', 'much'],
      ['serve', '--writable', 'DIR', '--password-file', 'USERS'],
      ['serve', '--add-user', 'ann'],
    ])
      await usage(t, ...argv);
  });
});

describe('serve --add-user', () => {
  test('adds and replaces a line that the server takes; the rest stays; nobody else reads the file', async (t) => {
    const j = await journey(t);
    const add = (name: string, password: string) => {
      writeFileSync(j.path('password'), password);
      return j.run(['serve', '--htpasswd', j.path('users'), '--add-user', name, '--password-file', j.path('password')]);
    };
    for (const [name, password] of [
      ['ann', 'one\n'],
      ['bob', 'zwei ü:x\r\n'],
      ['ann', 'three'],
    ] as const) {
      const ran = await add(name, password);
      assert.equal(ran.code, 0, ran.stderr);
    }
    assert.equal(statSync(j.path('users')).mode & 0o777, 0o600);
    const { url } = await site(t, j, ['--htpasswd', j.path('users')]);
    for (const [name, password, status] of [
      ['ann', 'three', 200],
      ['ann', 'one', 401],
      ['bob', 'zwei ü:x', 200],
    ] as const)
      assert.equal((await fetch(`${url}/v2/`, { headers: login(name, password) })).status, status, name);
    for (const [name, password] of [
      ['a:b', 'x'],
      ['', 'x'],
      ['ann', ''],
      ['ann', 'two\nlines'],
      ['ann', 'x'.repeat(73)],
    ] as const)
      assert.equal((await add(name, password)).code, 2, `${name} ${password}`);
    assert.equal((await fetch(`${url}/v2/`, { headers: login('ann', 'three') })).status, 200);
  });
});
