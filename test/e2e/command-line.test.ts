import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import packageJson from '../../package.json' with { type: 'json' };
import { bundle, journey, lockOf, statementOf, testKey, testRegistry } from '../support/command-journey.ts';
import { randomImage, randomIndex } from '../support/random-image.ts';
import { tempDir } from '../support/temp-dir.ts';

async function withApp(t: TestContext) {
  const j = await journey(t);
  const [origin] = j.origins;
  await origin.put('team/app', '1.0', await randomIndex({ seed: 1 }));
  return { j, origin, file: await j.manifest('lumen', `images: [${origin.host}/team/app:1.0]`) };
}

describe('what can not be understood is exit 2 and does nothing', () => {
  const lines: readonly (readonly [string, RegExp])[] = [
    ['', /say what to do/],
    ['frobnicate', /bundle has no command "frobnicate": want lock, pull, .*\n {2}hint: see "bundle --help"/],
    ['frobnicate lock', /bundle has no command "frobnicate"/],
    ['lok', /bundle has no command "lok"; did you mean "lock"\?/],
    ['lok --quiet', /bundle has no command "lok"; did you mean "lock"\?/],
    ['trust bogus --quiet', /bundle trust has no command "bogus": want init, show, add, .*\n {2}hint: see "bundle trust --help"/],
    ['trust ad dir', /bundle trust has no command "ad"; did you mean "add"\?/],
    ['--quiet lock', /say what to do[^\n]*\n {2}hint: the command comes first/],
    ['pull --kye=secret', /bundle pull has no flag --kye; did you mean --key\?\n {2}hint: see "bundle pull --help"/],
    ['lock --cehck --dryRun', /no flag --cehck; did you mean --check\?\nbundle lock has no flag --dryRun\n/],
    ['trust rotate --applly x', /bundle trust rotate has no flag --applly; did you mean --apply\?/],
    ['lock -x', /bundle lock has no flag -x\n/],
    ['pull --no-verify', /no-verify/],
    ['pull --no-key', /no-key/],
    ['pull --frozzen', /frozzen/],
    ['pull --registry x', /registry/],
    ['pull stray', /stray/],
    ['verify', /bundle verify: <bundle> is missing: directory of the bundle\n {2}hint: see "bundle verify --help"/],
    ['verify a b', /bundle verify takes no argument "b" here/],
    ['trust remove dir', /bundle trust remove: <names> is missing/],
    ['policy', /<consumer> is missing: who shall check: kyverno, policy-controller/],
    ['policy kyvrno', /<consumer>: "kyvrno" is none of .*; did you mean "kyverno"\?/],
    ['pull -f a -f b', /--file is given more than once/],
    ['pull --keep 1 --keep 2', /--keep is given more than once/],
    ['load a --state x --state y', /--state is given more than once/],
    ['pull --key', /key/],
    ['pull --key=', /key/],
    ['pull -f', /-f has no value/],
    ['pull --unsigned --keep 0', /--keep: "0" is not a whole number from 1 to 1000/],
    ['pull --unsigned --keep 1.5', /whole number/],
    ['pull --unsigned --keep 1e3', /whole number/],
    ['pull --unsigned --concurrency many', /--concurrency/],
    ['load a --registry x --generation -1', /generation/],
    ['load a --registry x --dry-run=yes', /--dry-run=yes: want true or false/],
    ['pull --unsigned=no', /--unsigned=no: want true or false/],
    ['pull --progress loud', /--progress: "loud" is none of auto, bars, /],
    ['keys', /say what to do with keys: generate/],
    ['keys frobnicate', /frobnicate/],
    ['keys generate stray', /stray/],
    ['keys generate -o -', /keys generate -o -: a private key is never printed/],
    ['pull --unsigned --source-mirror nonsense', /ORIGIN=URL/],
  ];
  for (const [line, message] of lines) {
    test(`bundle ${line}`, async (t) => {
      const dir = await tempDir(t);
      const file = join(dir, 'x.yaml');
      writeFileSync(file, 'apiVersion: bundle/v1\nname: x\nimages: [127.0.0.1:9/a/b:1]\n');
      const words = line === '' ? [] : line.split(' ');
      const more = words[0] === 'pull' && !words.includes('-f') ? ['-f', file, '-o', join(dir, 'out')] : [];
      const ran = await bundle([...words, ...more], { env: { BUNDLE_KEY_PASSWORD: 'x' } });
      assert.equal(ran.code, 2, ran.stderr);
      assert.match(ran.stderr, message);
      assert.doesNotMatch(ran.stderr, /secret/, 'what stands behind a misspelt flag may be a password');
      assert.match(ran.stderr, /E_USAGE, exit code 2/);
      assert.equal(ran.stdout, '');
      assert.equal(existsSync(join(dir, 'out')), false);
    });
  }

  test('a manifest that is not there, or wrong, is named with its place', async (t) => {
    const { j } = await withApp(t);
    const gone = await j.lock(j.path('gone.yaml'));
    assert.equal(gone.code, 2);
    assert.match(gone.stderr, /gone\.yaml: there is no such file/);
    const wrong = await j.lock(await j.manifest('wrong', 'imgaes: [a]'));
    assert.equal(wrong.code, 3);
    assert.match(wrong.stderr, /wrong\.yaml:3:1: .*imgaes.*did you mean.*images/i);
  });
});

describe('help', () => {
  test('lists the commands in the order of the story, on standard output, exit 0', async () => {
    const ran = await bundle(['--help']);
    assert.equal(ran.code, 0);
    const places = ['lock', 'pull', 'verify', 'inspect', 'diff', 'load', 'mirrors', 'serve', 'keys'].map((name) =>
      ran.stdout.search(new RegExp(`^ {2}bundle ${name}\\b`, 'm')),
    );
    assert.ok(
      places.every((place, i) => place > (places[i - 1] ?? 0)),
      ran.stdout,
    );
    assert.equal(ran.stderr, '');
  });

  test('of a command shows its flags and an example', async () => {
    for (const command of [['pull'], ['load'], ['keys', 'generate']]) {
      const ran = await bundle([...command, '--help']);
      assert.equal(ran.code, 0);
      assert.match(ran.stdout, /Examples:\n/);
      assert.match(ran.stdout, /--json/);
    }
  });

  test('says of a flag what it means to this command, and of a word with several commands one line', async () => {
    const flagsOf = async (...command: string[]) => (await bundle([...command, '--help'])).stdout.replace(/\s+/g, ' ');
    assert.match(await flagsOf('policy'), /--key public key/);
    for (const command of [['pull'], ['sign']]) {
      assert.match(await flagsOf(...command), /--key private key/);
      assert.doesNotMatch(await flagsOf(...command), /public key; repeatable|for policy/);
    }
    assert.match(await flagsOf('lock'), /--prove only say which tags moved \(exit 11\).*signatures are not looked at/);
    assert.match(await flagsOf('load'), /--prove resolve one reference/);
    assert.doesNotMatch(await flagsOf('keys', 'generate'), /standard output;|"-" is/);
    assert.doesNotMatch(await flagsOf('lock'), /errors only/);
    const top = (await bundle(['--help'])).stdout;
    assert.match(top, /^ {2}bundle trust +whom this machine trusts: init, show, add, remove, rotate$/m);
  });

  test('--version is that of the package', async () => {
    assert.deepEqual(await bundle(['--version']).then(({ code, stdout }) => [code, stdout]), [0, `${packageJson.version}\n`]);
  });
});

describe('flags from the environment', () => {
  test('BUNDLE_<FLAG> stands for each flag of a command, lists by commas, flags by true and false', async (t) => {
    const { j, file } = await withApp(t);
    const second = testKey(j.dir, 'second');
    const env = { BUNDLE_FILE: file, BUNDLE_OUTPUT: j.bundle, BUNDLE_KEY: `${j.key.key}, ${second.key}`, BUNDLE_JSON: 'yes' };
    const ran = await j.run(['pull'], { env });
    assert.equal(ran.code, 0, ran.stderr);
    assert.deepEqual(ran.json().signers.sort(), [j.key.keyid, second.keyid].sort());
    const load = await j.run(['load', j.bundle], {
      env: {
        BUNDLE_REGISTRY: j.target.host,
        BUNDLE_TRUST: `${j.key.pub},${second.pub}`,
        BUNDLE_STATE: j.path('state'),
        BUNDLE_DRY_RUN: 'true',
      },
    });
    assert.equal(load.code, 0, load.stderr);
    assert.match(load.stdout, /would move/);
  });

  test('the command line wins', async (t) => {
    const { j, file } = await withApp(t);
    const argv = ['pull', '-f', file, '-o', j.bundle, '--unsigned', '--json=false', '--keep', '3'];
    const ran = await j.run(argv, { env: { BUNDLE_OUTPUT: j.path('elsewhere'), BUNDLE_JSON: 'true', BUNDLE_KEEP: 'x' } });
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal(existsSync(j.path('elsewhere')), false);
    assert.match(ran.stdout, /: generation \d+/);
  });

  test('what is no flag of the command is left alone: other tools have their variables too', async (t) => {
    const { j, file } = await withApp(t);
    const env = { BUNDLE_REGISTRY: 'x', BUNDLE_GEMFILE: '/app/Gemfile', BUNDLE_PATH: 'vendor', BUNDLE_WITHOUT: 'test' };
    assert.equal((await j.run(['lock', '-f', file], { env })).code, 0);
  });

  test('an empty variable counts as not set; nonsense is a usage error that names the variable', async (t) => {
    const { j, file } = await withApp(t);
    assert.equal((await j.run(['lock', '-f', file], { env: { BUNDLE_QUIET: '', BUNDLE_CA_FILE: '' } })).code, 0);
    for (const [name, value] of [
      ['BUNDLE_QUIET', 'perhaps'],
      ['BUNDLE_PROGRESS', 'loud'],
      ['BUNDLE_CONCURRENCY', '-3'],
    ] as const) {
      const ran = await j.run(['lock', '-f', file], { env: { [name]: value } });
      assert.equal(ran.code, 2, `${name}: ${ran.stderr}`);
    }
    const named = await j.run(['lock', '-f', file], { env: { BUNDLE_QUIET: 'perhaps' } });
    assert.match(named.stderr, /BUNDLE_QUIET: "perhaps" is not true or false/);
  });
});

describe('--json', () => {
  test('is one document on standard output for every command, and talk is on standard error', async (t) => {
    const { j, file } = await withApp(t);
    const verify = ['verify', j.bundle, '--trust', j.key.pub];
    const steps: (readonly string[])[] = [
      ['lock', '-f', file],
      ['lock', '-f', file, '--check'],
      ['pull', '-f', file, '-o', j.bundle, '--key', j.key.key],
      verify,
      ['inspect', j.bundle],
      ['diff', j.bundle, j.bundle],
      ['load', j.bundle, '--trust', j.key.pub, '--registry', j.target.host, '--state', j.path('state')],
      ['mirrors', j.bundle, '--trust', j.key.pub, '--state', j.path('state'), '--endpoint', 'https://node-1:5000', '-o', '-'],
      ['keys', 'generate', '-o', j.path('made')],
    ];
    for (const step of steps) {
      const ran = await j.run([...step, '--json'], { env: { BUNDLE_KEY_PASSWORD: 'x' } });
      assert.equal(ran.code, 0, `${step.join(' ')}: ${ran.stderr}`);
      assert.equal(ran.json().ok, true);
    }
  });

  test('a failure is one document too, with code, message, hint and the exit code', async (t) => {
    const { j, file } = await withApp(t);
    const failures: (readonly [readonly string[], Record<string, string>, number, string])[] = [
      [['pull', '-f', file, '--json'], {}, 2, 'E_USAGE'],
      [['pull', '-f', file, '--json', '--no-verify'], {}, 2, 'E_USAGE'],
      [['pull', '-f', file, '--json=true'], {}, 2, 'E_USAGE'],
      [['pull', '-f', file], { BUNDLE_JSON: 'true' }, 2, 'E_USAGE'],
      [['frobnicate', '--json'], {}, 2, 'E_USAGE'],
      [['verify', j.path('gone'), '--json', '--trust', j.key.pub], {}, 5, 'E_MISSING'],
      [['verify', j.path('gone'), '--json', '--trust', j.path('gone')], {}, 6, 'E_TRUST_FILE'],
    ];
    for (const [argv, env, exitCode, code] of failures) {
      const ran = await j.run(argv, { env });
      assert.equal(ran.code, exitCode, ran.stderr);
      const { ok, error, exitCode: told } = ran.json();
      assert.deepEqual([ok, error.code, told], [false, code, exitCode]);
      assert.ok(error.message.length > 0);
      assert.match(ran.stderr, /^error: /m);
    }
  });

  test('without it a failure leaves standard output empty', async (t) => {
    const { j, file } = await withApp(t);
    assert.equal((await j.run(['pull', '-f', file, '--json=false'], { env: { BUNDLE_JSON: '1' } })).stdout, '');
  });
});

describe('progress', () => {
  const pull = async (t: TestContext, options: { terminal?: boolean; env?: Record<string, string> }, ...more: string[]) => {
    const { j, file } = await withApp(t);
    return j.run(['pull', '-f', file, '-o', j.bundle, '--unsigned', ...more], { ...options, now: fastClock() });
  };
  /** Each look at the clock is a second later, so that no frame of a bar is left out. */
  const fastClock = () => {
    let now = 1_790_000_000_000;
    return () => {
      now += 1000;
      return now;
    };
  };
  const ESCAPES = /\x1b\[/;

  test('is bars on a terminal', async (t) => {
    const { stderr } = await pull(t, { terminal: true });
    assert.match(stderr, /\[#*\.*\] +\d+%/);
    assert.match(stderr, ESCAPES);
    assert.doesNotMatch(stderr.split('\n').at(-1) ?? '', /%/, 'the bar is gone at the end');
  });

  test('is plain lines in a pipe, with NO_COLOR, or on a dumb terminal', async (t) => {
    for (const options of [{}, { terminal: true, env: { NO_COLOR: '1' } }, { terminal: true, env: { TERM: 'dumb' } }]) {
      const { stderr } = await pull(t, options);
      assert.doesNotMatch(stderr, ESCAPES);
      assert.match(stderr, /^fetching\n {2}done {6}\S+team\/app:1\.0 {2}[\d.]+ KiB$/m);
    }
  });

  test('is one JSON event a line with --progress json', async (t) => {
    const { stderr } = await pull(t, {}, '--progress', 'json');
    const events = stderr
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; phase?: string; bytes?: number; count?: number });
    assert.deepEqual(
      events.filter((e) => e.type === 'phase').map((e) => e.phase),
      ['resolve', 'plan', 'fetch', 'commit'],
    );
    const total = events.find((e) => e.type === 'total')?.bytes;
    const moved = events.filter((e) => e.type === 'bytes').reduce((sum, e) => sum + (e.count ?? 0), 0);
    assert.equal(moved, total);
  });

  test('is nothing with --quiet or --progress none', async (t) => {
    assert.equal((await pull(t, { terminal: true }, '--quiet')).stderr, '');
    assert.equal((await pull(t, { terminal: true }, '--progress', 'none')).stderr, '');
  });
});

describe('keys', () => {
  test('generate writes a pair that signs and is trusted; the private half is encrypted and 0600', async (t) => {
    const { j, file } = await withApp(t);
    const env = { BUNDLE_KEY_PASSWORD: 'correct horse' };
    const made = await j.run(['keys', 'generate', '-o', j.path('keys/new'), '--json'], { env });
    assert.equal(made.code, 0, made.stderr);
    const { key, public: pub, keyid } = made.json();
    assert.match(readFileSync(key, 'utf8'), /^-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----/);
    assert.equal(statSync(key).mode & 0o777, 0o600);
    assert.equal((await j.run(['pull', '-f', file, '-o', j.bundle, '--key', key], { env })).code, 0);
    assert.deepEqual((await j.run(['verify', j.bundle, '--trust', pub, '--json'])).json().signers, [keyid]);
    const again = await j.run(['keys', 'generate', '-o', j.path('keys/new')], { env });
    assert.equal(again.code, 2);
    assert.match(again.stderr, /never overwritten/);
  });

  test('a wrong password is exit 6 and appears nowhere; a password file and COSIGN_PASSWORD work', async (t) => {
    const { j, file } = await withApp(t);
    await j.run(['keys', 'generate', '-o', j.path('k')], { env: { BUNDLE_KEY_PASSWORD: 'right' } });
    const pull = (env: Record<string, string>, ...more: string[]) =>
      j.run(['pull', '-f', file, '-o', j.bundle, '--key', j.path('k.key'), '-v', ...more], { env });
    const wrong = await pull({ BUNDLE_KEY_PASSWORD: 'hunter2-wrong' });
    assert.equal(wrong.code, 6);
    assert.match(wrong.stderr, /E_KEY_PASSWORD/);
    assert.ok(!`${wrong.stdout}${wrong.stderr}`.includes('hunter2'));
    writeFileSync(j.path('password'), 'right\n');
    assert.equal((await pull({}, '--key-password-file', j.path('password'))).code, 0);
    assert.equal((await pull({ COSIGN_PASSWORD: 'right' })).code, 0);
  });

  test('a key from the environment', async (t) => {
    const { j, file } = await withApp(t);
    const ran = await j.run(['pull', '-f', file, '-o', j.bundle, '--key', 'env://SIGNING_KEY'], {
      env: { SIGNING_KEY: readFileSync(j.key.key, 'utf8') },
    });
    assert.equal(ran.code, 0, ran.stderr);
    assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
  });
});

describe('credentials', () => {
  test('of a registry are found in its file and appear in nothing that is written or said', async (t) => {
    const { j, file } = await withApp(t);
    const users = { robot: 's3cret-of-the-robot' };
    const closed = await testRegistry(t, { auth: { kind: 'basic', users } });
    await closed.put('team/closed', '1', await randomImage({ seed: 3 }));
    const closedFile = await j.manifest('closed', `images: [${closed.host}/team/closed:1]`);
    const auth = Buffer.from('robot:s3cret-of-the-robot').toString('base64');
    writeFileSync(j.path('auth.json'), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    const env = { BUNDLE_PLAIN_HTTP: closed.host };
    const without = await j.run(['lock', '-f', closedFile, '-v'], { env });
    assert.equal(without.code, 4);
    assert.match(without.stderr, /E_AUTH/);
    const ran = await j.run(['pull', '-f', closedFile, '-o', j.bundle, '--unsigned', '-v', '--authfile', j.path('auth.json')], {
      env,
    });
    assert.equal(ran.code, 0, ran.stderr);
    const said = [ran.stdout, ran.stderr, JSON.stringify(lockOf(closedFile)), JSON.stringify(statementOf(j.bundle))].join('\n');
    assert.ok(!said.includes('s3cret') && !said.includes(auth));
    assert.ok(existsSync(file));
  });
});

describe('interruption', () => {
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    test(`${signal} in the middle of a pull is exit ${exitCode}; the same command again finishes it`, async (t) => {
      const abort = new AbortController();
      const j = await journey(t);
      const slow = await testRegistry(t, {
        onRequest: ({ url }) => {
          if (url.includes('/blobs/')) abort.abort(signal);
        },
      });
      await slow.put('team/app', '1', await randomImage({ seed: 1, bytes: 100_000 }));
      const file = await j.manifest('cut', `images: [${slow.host}/team/app:1]`);
      const env = { BUNDLE_PLAIN_HTTP: slow.host };
      const argv = ['pull', '-f', file, '-o', j.bundle, '--key', j.key.key, '--json'];
      const ran = await j.run(argv, { env, signal: abort.signal });
      assert.equal(ran.code, exitCode, ran.stderr);
      assert.match(ran.stderr, /run the same command again/);
      assert.deepEqual([ran.json().error.code, ran.json().exitCode], ['E_INTERRUPTED', exitCode]);
      assert.equal((await j.run(argv, { env })).code, 0);
      assert.equal((await j.run(['verify', j.bundle, '--trust', j.key.pub])).code, 0);
    });
  }
});
