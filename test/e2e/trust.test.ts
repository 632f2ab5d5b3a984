/** The air-gapped side decides whom it trusts: documents, approvers, rotation, by the command line from end to end. */
import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import {
  flipByte,
  generationsOf,
  isWrite,
  type Journey,
  journey,
  makeReadOnly,
  readJson,
  type TestKey,
  testKey,
  tree,
} from '../support/command-journey.ts';
import { buryOwners, createFaultFileSystem, faultName, killsOf, withoutSync } from '../support/fault-file-system.ts';
import { randomImage } from '../support/random-image.ts';
import type { Ending } from '../support/temp-dir.ts';

type Site = Readonly<{ j: Journey; trust: string; anna: TestKey; ben: TestKey; carla: TestKey; file: string }>;

/** A bundle signed by Anna, and keys of three people. */
async function site(t: Ending): Promise<Site> {
  const j = await journey(t);
  const [anna, ben, carla] = ['anna', 'ben', 'carla'].map((name) => testKey(j.dir, name)) as [TestKey, TestKey, TestKey];
  await j.origins[0].put('team/app', '1.0', await randomImage({ files: 1, bytes: 500, layers: 1 }));
  const file = await j.manifest('lumen', `images: ["${j.origins[0].host}/team/app:1.0"]`);
  const pulled = await j.pull(file, '--key', anna.key);
  assert.equal(pulled.code, 0, pulled.stderr);
  return { j, trust: j.path('trust'), anna, ben, carla, file };
}

/** Runs a command line that must succeed, and gives its document. */
async function ok(j: Journey, ...argv: string[]) {
  const ran = await j.run([...argv, '--json']);
  assert.equal(ran.code, 0, `${argv.join(' ')}: ${ran.stderr}`);
  return ran.json();
}

const init = ({ j, trust, anna, ben }: Site, threshold = '2') =>
  ok(j, 'trust', 'init', trust, '--add', `anna=${anna.pub}`, '--add', `ben=${ben.pub}`, '--threshold', threshold);

describe('two-person approval', () => {
  it('a second person signs what the first one pulled; load demands both, and not a byte but the signature is new', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await init(s);
    const alone = await j.load('--trust', trust);
    assert.equal(alone.code, 6);
    assert.match(alone.stderr, /E_THRESHOLD/);
    assert.deepEqual(j.target.requests.filter(isWrite), []);

    const before = tree(j.bundle);
    const approved = await ok(j, 'sign', j.bundle, '--key', ben.key, '--trust', trust);
    assert.deepEqual(
      [approved.added, approved.present, approved.threshold, approved.checked],
      [[ben.keyid], [], 2, 'content and signatures'],
    );
    assert.equal(approved.signers.length, 2);
    const after = tree(j.bundle);
    const [generation] = generationsOf(j.bundle);
    const fresh = [`${ben.keyid}.sigstore.json`, `generations/${generation}/${ben.keyid}.sigstore.json`].sort();
    assert.deepEqual(
      Object.keys(after).filter((name) => before[name] !== after[name]),
      fresh,
    );
    assert.deepEqual(
      Object.keys(before).filter((name) => after[name] === undefined),
      [],
    );

    const times = tree(j.bundle, true);
    const again = await ok(j, 'sign', j.bundle, '--key', ben.key, '--trust', trust);
    assert.deepEqual([again.added, again.present], [[], [ben.keyid]]);
    const files = (found: Record<string, string>) => Object.entries(found).filter(([, what]) => !what.startsWith('directory'));
    assert.deepEqual(files(tree(j.bundle, true)), files(times));

    const loaded = await j.load('--trust', trust);
    assert.equal(loaded.code, 0, loaded.stderr);
    const third = await ok(j, 'sign', j.bundle, '--key', carla.key);
    assert.deepEqual([third.added, third.checked, third.signers], [[carla.keyid], 'content', undefined]);
    assert.ok(anna.keyid !== ben.keyid);
  });

  it('says plainly what it checked, and what is approved', async (t) => {
    const { j, ben } = await site(t);
    const statement = readJson(join(j.bundle, 'bundle.json')).predicate;
    const dry = await j.run(['sign', j.bundle, '--dry-run']);
    assert.equal(dry.code, 0, dry.stderr);
    for (const text of [
      'lumen, generation ',
      String(statement.sequence),
      'statement sha256:',
      '1 reference',
      'NOT checked',
      'not signed',
    ])
      assert.ok(dry.stdout.includes(text), `${text}: ${dry.stdout}`);
    const signed = await j.run(['sign', j.bundle, '--key', ben.key]);
    assert.match(signed.stdout, /who signed it before was NOT checked/);
    assert.ok(signed.stdout.includes(`signed by ${ben.keyid}`), signed.stdout);
    assert.equal((await j.run(['sign', j.bundle])).code, 2);
  });

  it('nothing damaged, expired, of another name or signed by strangers is approved', async (t) => {
    const s = await site(t);
    const { j, trust, ben, carla } = s;
    const before = tree(j.bundle);
    const refused = async (code: string, ...argv: string[]) => {
      const ran = await j.run(['sign', j.bundle, '--key', ben.key, ...argv]);
      assert.notEqual(ran.code, 0, ran.stdout);
      assert.match(ran.stderr, new RegExp(code));
    };
    await refused('E_UNTRUSTED', '--trust', carla.pub);
    await refused('E_WRONG_NAME', '--name', 'other');
    await refused('E_MISSING', '--generation', '1');
    await ok(j, 'trust', 'init', trust, '--add', `carla=${carla.pub}`);
    await refused('E_UNTRUSTED', '--trust', trust);
    assert.deepEqual(tree(j.bundle), before);
    const blob = readdirSync(join(j.bundle, 'blobs/sha256'))[0] as string;
    flipByte(join(j.bundle, 'blobs/sha256', blob));
    await refused('E_DIGEST|E_LAYOUT|E_OCI_MANIFEST|E_SIZE');
    flipByte(join(j.bundle, 'blobs/sha256', blob));
    const [generation] = generationsOf(j.bundle);
    const own = join(j.bundle, 'generations', generation as string, `${ben.keyid}.sigstore.json`);
    writeFileSync(own, '{}');
    await refused('E_SIGNATURE');
    assert.equal(readFileSync(own, 'utf8'), '{}');
    // Through a link it would clear up and write somewhere else.
    const elsewhere = j.path('elsewhere');
    renameSync(join(j.bundle, 'generations'), elsewhere);
    symlinkSync(elsewhere, join(j.bundle, 'generations'));
    mkdirSync(join(elsewhere, '.tmp-precious'));
    await refused('E_NOT_REGULAR');
    assert.ok(existsSync(join(elsewhere, '.tmp-precious')));
  });

  it('of a medium that can not be written goes into a file, and is added where it can', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await init(s);
    const medium = j.path('medium');
    cpSync(j.bundle, medium, { recursive: true });
    const before = tree(medium, true);
    makeReadOnly(medium);
    const made = await ok(j, 'sign', medium, '--key', ben.key, '-o', j.path('out'), '--trust', trust);
    assert.deepEqual(made.added, [ben.keyid]);
    assert.deepEqual(Object.keys(tree(medium, true)), Object.keys(before));
    const file = j.path('out', `${ben.keyid}.sigstore.json`);
    assert.deepEqual(readdirSync(j.path('out')), [`${ben.keyid}.sigstore.json`]);

    const blind = await j.run(['sign', j.bundle, '--signature', file]);
    assert.equal(blind.code, 2, blind.stderr);
    assert.match(blind.stderr, /without --trust/);
    await ok(j, 'sign', medium, '--key', carla.key, '-o', j.path('out'));
    const stranger = await j.run([
      'sign',
      j.bundle,
      '--signature',
      j.path('out', `${carla.keyid}.sigstore.json`),
      '--trust',
      trust,
    ]);
    assert.match(stranger.stderr, /E_UNTRUSTED/);
    const damaged = j.path('damaged.json');
    cpSync(file, damaged);
    writeFileSync(damaged, readFileSync(file, 'utf8').replace(/"sig":"MEU|"sig":"MEQ|"sig":"MEY/, '"sig":"AAA'));
    assert.notDeepEqual(readFileSync(damaged), readFileSync(file));
    assert.match((await j.run(['sign', j.bundle, '--signature', damaged, '--trust', trust])).stderr, /E_SIGNATURE/);

    const readOnly = createFaultFileSystem(nodeFileSystem, { fail: 'EROFS', at: 1, forever: true });
    const told = await j.run(['sign', j.bundle, '--key', ben.key], { fs: readOnly });
    assert.equal(told.code, 7);
    assert.match(told.stderr, /-o DIR writes the signature file there/);

    // Under any name: what it is called on the way does not matter.
    renameSync(file, j.path('from-ben.json'));
    const added = await ok(j, 'sign', j.bundle, '--signature', j.path('from-ben.json'), '--trust', trust);
    assert.deepEqual(added.added, [ben.keyid]);
    const loaded = await j.load('--trust', trust);
    assert.equal(loaded.code, 0, loaded.stderr);
    assert.ok(anna.keyid !== carla.keyid);
  });

  it('killed at any change is finished by the same command, and the bundle stays one that loads', async (t) => {
    const { j, anna, ben } = await site(t);
    const run = (fs: typeof nodeFileSystem, directory: string) =>
      j.run(['sign', directory, '--key', ben.key, '--trust', anna.pub, '--trust', ben.pub], { fs });
    const at = (name: string) => {
      cpSync(j.bundle, j.path(name), { recursive: true });
      return j.path(name);
    };
    const recorded = createFaultFileSystem(withoutSync(nodeFileSystem));
    assert.equal((await run(recorded, at('whole'))).code, 0);
    const wanted = tree(j.path('whole'));
    let n = 0;
    for (const fault of killsOf(recorded.operations)) {
      const directory = at(`kill-${n++}`);
      const disk = createFaultFileSystem(withoutSync(nodeFileSystem), fault);
      await run(disk, directory);
      const what = faultName(fault, recorded.operations);
      const verified = await j.run(['verify', directory, '--trust', anna.pub]);
      assert.equal(verified.code, 0, `${what}: ${verified.stderr}`);
      await buryOwners(directory);
      const again = await run(withoutSync(nodeFileSystem), directory);
      assert.equal(again.code, 0, `${what}: ${again.stderr}`);
      assert.deepEqual(tree(directory), wanted, what);
    }
    assert.ok(n > 20);
    t.diagnostic(`${n} kills`);
  });
});

describe('what sign refuses', () => {
  it('a bundle whose signatures are over other bytes gets no further one, with and without --trust', async (t) => {
    const s = await site(t);
    const { j, anna, ben } = s;
    const [generation] = generationsOf(j.bundle);
    for (const path of ['bundle.json', `generations/${generation}/bundle.json`]) {
      const file = join(j.bundle, path);
      const text = readFileSync(file, 'utf8');
      writeFileSync(file, text.replace(/"created": *"20\d\d/, '"created": "2025'));
      assert.notEqual(readFileSync(file, 'utf8'), text);
    }
    const before = tree(j.bundle);
    for (const flags of [[], ['--dry-run'], ['-o', j.path('out')], ['--trust', anna.pub]]) {
      const ran = await j.run(['sign', j.bundle, '--key', ben.key, ...flags]);
      assert.equal(ran.code, 6, `${flags}: ${ran.stdout}`);
      assert.match(ran.stderr, /signs other bytes than this statement[\s\S]*E_SIGNATURE/);
    }
    assert.deepEqual(tree(j.bundle), before);
    assert.ok(!existsSync(j.path('out')));
  });

  it('a key that --trust does not know, or that does not count for this bundle, signs nothing, and the names are said', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await init(s, '1');
    const before = tree(j.bundle);
    const refused = async (key: string, why: RegExp) => {
      const ran = await j.run(['sign', j.bundle, '--key', key, '--trust', trust]);
      assert.equal(ran.code, 6, ran.stdout);
      assert.match(ran.stderr, /E_UNTRUSTED/);
      assert.match(ran.stderr, why);
      assert.deepEqual(tree(j.bundle), before);
    };
    await refused(carla.key, /none of those that sign here[\s\S]*anna \(.*ben \(/);
    await ok(j, 'trust', 'add', trust, `carla=${carla.pub}`, '--for-bundle', 'lab');
    await refused(carla.key, /carla \(.*would not count: bound to the bundle lab, and this is "lumen"/);
    await ok(j, 'trust', 'add', trust, `carla=${carla.pub}`, '--until', '2020-01-01');
    await refused(carla.key, /carla \(.*would not count: expired since/);
    await ok(j, 'trust', 'remove', trust, 'carla', '--revoke');
    await refused(carla.key, /carla \(.*would not count: revoked since/);
    const signed = await j.run(['sign', j.bundle, '--key', ben.key, '--trust', trust]);
    assert.match(signed.stdout, /signed by ben \([0-9a-f]{16}…\)\n[\s\S]*2 signatures count, 1 needed: enough/);
    const again = await j.run(['sign', j.bundle, '--key', ben.key, '--key', anna.key, '--trust', trust]);
    assert.match(again.stdout, /ben \([0-9a-f]{16}…\) had signed it already/);
  });

  it('"-" is no directory for signature files', async (t) => {
    const { j, ben } = await site(t);
    const disk = createFaultFileSystem(nodeFileSystem);
    const ran = await j.run(['sign', j.bundle, '--key', ben.key, '-o', '-'], { fs: disk });
    assert.equal(ran.code, 2, ran.stdout);
    assert.match(ran.stderr, /E_USAGE/);
    assert.deepEqual(disk.operations, []);
  });
});

describe('trust at the target', () => {
  it('a key that is revoked, expired, or bound to another bundle stops counting at once, and load says which and why', async (t) => {
    const s = await site(t);
    const { j, anna, ben } = s;
    const cases: [string, string[][], RegExp][] = [
      ['revoked', [['remove', '{}', 'anna', '--revoke']], /anna \(.*revoked since/],
      [
        'bound',
        [
          ['remove', '{}', 'anna'],
          ['add', '{}', `anna=${anna.pub}`, '--for-bundle', 'lab'],
        ],
        /anna \(.*bound to the bundle lab, and this is "lumen"/,
      ],
      [
        'early',
        [
          ['remove', '{}', 'anna'],
          ['add', '{}', `anna=${anna.pub}`, '--from', '2099-01-01'],
        ],
        /anna \(.*not valid before 2099-01-01/,
      ],
      [
        'late',
        [
          ['remove', '{}', 'anna'],
          ['add', '{}', `anna=${anna.pub}`, '--until', '2020-01-01'],
        ],
        /anna \(.*expired since 2020-01-01/,
      ],
    ];
    for (const [name, steps, why] of cases) {
      const trust = j.path(name);
      await init({ ...s, trust }, '1');
      assert.equal((await j.run(['verify', j.bundle, '--trust', trust])).code, 0);
      for (const step of steps) await ok(j, 'trust', ...step.map((word) => word.replace('{}', trust)));
      const ran = await j.load('--trust', trust);
      assert.equal(ran.code, 6, name);
      assert.match(ran.stderr, /E_UNTRUSTED/);
      assert.match(ran.stderr, why);
    }
    assert.deepEqual(j.target.requests.filter(isWrite), []);
    // With the other's signature it loads again.
    await ok(j, 'sign', j.bundle, '--key', ben.key);
    const loaded = await j.load('--trust', j.path('revoked'));
    assert.equal(loaded.code, 0, loaded.stderr);
  });

  it('an expired key does not come back when the clock is set back: the newest load counts', async (t) => {
    const { j, anna, ben, trust } = await site(t);
    const created = Date.parse(readJson(join(j.bundle, 'bundle.json')).predicate.created);
    const until = `${new Date(created - 1000).toISOString().slice(0, 19)}Z`;
    await ok(j, 'trust', 'init', trust, '--add', `ben=${ben.pub}`);
    await ok(j, 'trust', 'add', trust, `anna=${anna.pub}`, '--until', until);
    const verify = () => j.run(['verify', j.bundle, '--trust', trust, '--state', j.path('state')], { now: created - 60_000 });
    assert.equal((await verify()).code, 0, 'before anything was loaded the clock is all there is');
    assert.equal((await j.load('--trust', anna.pub)).code, 0);
    const ran = await verify();
    assert.equal(ran.code, 6, ran.stdout);
    assert.match(ran.stderr, /anna .*expired since/);
  });

  it('nothing on the medium is trusted: neither a trust.json in the bundle, nor --trust that points into it', async (t) => {
    const s = await site(t);
    const { j, trust, anna, carla } = s;
    await ok(j, 'trust', 'init', trust, '--add', `carla=${carla.pub}`);
    const [generation] = generationsOf(j.bundle);
    const planted = j.path('planted');
    await ok(j, 'trust', 'init', planted, '--add', `anna=${anna.pub}`);
    for (const place of [j.bundle, join(j.bundle, 'generations', generation as string), join(j.bundle, 'trust')]) {
      mkdirSync(place, { recursive: true });
      cpSync(join(planted, 'trust.json'), join(place, 'trust.json'));
    }
    const ran = await j.load('--trust', trust);
    assert.equal(ran.code, 6);
    assert.match(ran.stderr, /E_UNTRUSTED/);
    for (const path of [j.bundle, join(j.bundle, 'trust'), `${trust}/../bundle/trust/trust.json`]) {
      for (const command of ['load', 'verify', 'sign']) {
        const flags = command === 'load' ? ['--registry', j.target.host] : command === 'sign' ? ['--key', anna.key] : [];
        const pointed = await j.run([command, j.bundle, '--trust', path, ...flags]);
        assert.equal(pointed.code, 6, `${command} ${path}: ${pointed.stdout}`);
        assert.match(pointed.stderr, /lies in the bundle/);
      }
    }
    assert.deepEqual(j.target.requests.filter(isWrite), []);
  });
});

describe('bundle trust', () => {
  it('init, show, add, remove: one fingerprint everywhere, one version each, and never less than the threshold', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    const made = await init(s);
    const elsewhere = await ok(
      j,
      'trust',
      'init',
      j.path('other'),
      '--add',
      `ben=${ben.pub}`,
      '--add',
      `anna=${anna.pub}`,
      '--threshold',
      '2',
    );
    assert.equal(made.fingerprint, elsewhere.fingerprint);
    assert.deepEqual((await init(s)).version, 1);
    const shown = await j.run(['trust', 'show', trust]);
    assert.equal((await j.run(['trust', 'show', join(trust, 'trust.json')])).stdout, shown.stdout);
    const spoken = made.fingerprint.slice('sha256:'.length).replace(/.{8}(?=.)/g, '$& ');
    for (const text of ['version 1: 2 of 2 keys', 'anna', 'ben', spoken]) assert.ok(shown.stdout.includes(text), shown.stdout);
    const added = await j.run(['trust', 'add', trust, `carla=${carla.pub}`, '--until', '2027-12-31', '--for-bundle', 'lab']);
    assert.equal(added.code, 0, added.stderr);
    assert.match(added.stderr, /on this machine alone, on your word/);
    const now = await ok(j, 'trust', 'show', trust);
    assert.deepEqual(
      [now.version, now.keys[2]],
      [2, { name: 'carla', keyid: carla.keyid, until: '2027-12-31T00:00:00Z', bundles: ['lab'], counts: true }],
    );
    const bytes = readFileSync(join(trust, 'trust.json'));
    for (const [code, ...argv] of [
      ['E_TRUST_FILE', 'remove', trust, 'ben', 'carla'],
      ['E_TRUST_FILE', 'add', trust, `again=${anna.pub}`],
      ['E_TRUST_FILE', 'add', trust, `dan=${j.path('gone.pub')}`],
      ['E_TRUST_FILE', 'add', trust, `dan=${anna.key}`],
      ['E_USAGE', 'remove', trust, 'dan'],
      ['E_USAGE', 'add', trust, anna.pub],
      ['E_USAGE', 'add', trust, `dan=${anna.pub}`, '--until', '2027-02-31'],
      ['E_USAGE', 'init', j.path('third'), '--add', `anna=${anna.pub}`, '--add', `ben=${ben.pub}`],
      ['E_USAGE', 'init', j.path('third')],
      ['E_USAGE', 'init', trust, '--add', `anna=${anna.pub}`],
      ...['0', '-1', 'NaN', '1.5', '257'].map((n) => ['E_USAGE', 'add', trust, `carla=${carla.pub}`, `--threshold=${n}`]),
      ['E_TRUST_FILE', 'remove', trust, 'carla', '--threshold', '3'],
    ]) {
      const ran = await j.run(['trust', ...argv]);
      assert.match(ran.stderr, new RegExp(code as string), `${argv.join(' ')}: ${ran.stdout}${ran.stderr}`);
    }
    assert.deepEqual(readFileSync(join(trust, 'trust.json')), bytes);
    assert.ok(!existsSync(j.path('third', 'trust.json')));
    const revoked = await ok(j, 'trust', 'remove', trust, 'ben', '--revoke', '--threshold', '1');
    assert.deepEqual([revoked.version, revoked.keys[1].counts, revoked.threshold], [3, false, 1]);
    assert.deepEqual(readdirSync(trust), ['trust.json']);
    const simple = await ok(j, 'trust', 'show', anna.pub.replace(/anna\.pub$/, '')).catch(() => undefined);
    assert.equal(simple?.form, 'keys');
  });

  it('rotate: made here, signed by each on a machine of his own, applied at the target; again is nothing, older is refused', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await init(s);
    const node = j.path('node');
    cpSync(trust, node, { recursive: true });
    const file = j.path('rotation.json');
    const made = await ok(j, 'trust', 'rotate', trust, '--remove', 'anna', '--revoke', '--add', `carla=${carla.pub}`, '-o', file);
    assert.deepEqual([made.from.version, made.to.version, made.complete], [1, 2, false]);
    const apply = (path = file) => j.run(['trust', 'rotate', node, '--apply', path]);
    assert.match((await apply()).stderr, /E_UNSIGNED/);

    const [annas, bens] = [j.path('annas.json'), j.path('bens.json')];
    assert.equal((await ok(j, 'trust', 'rotate', '--sign', file, '--key', anna.key, '-o', annas)).complete, false);
    await ok(j, 'trust', 'rotate', trust, '--sign', file, '--key', ben.key, '--key', carla.key, '-o', bens);
    const before = readFileSync(join(node, 'trust.json'));
    for (const path of [annas, bens]) assert.match((await apply(path)).stderr, /E_THRESHOLD|E_UNTRUSTED/, path);
    assert.deepEqual(readFileSync(join(node, 'trust.json')), before);
    assert.equal((await j.run(['verify', j.bundle, '--trust', node])).code, 6);
    // The medium may carry it: load never applies it by itself.
    cpSync(bens, join(j.bundle, 'rotation.json'));
    assert.equal((await j.load('--trust', node)).code, 6);
    assert.deepEqual(readFileSync(join(node, 'trust.json')), before);

    const applied = await ok(j, 'trust', 'rotate', node, '--apply', annas, '--apply', bens);
    assert.deepEqual([applied.version, applied.fingerprint], [2, made.to.fingerprint]);
    const times = tree(node, true);
    const again = await j.run(['trust', 'rotate', node, '--apply', annas, '--apply', bens]);
    assert.equal(again.code, 0, again.stderr);
    assert.match(again.stdout, /nothing to do/);
    assert.deepEqual(tree(node, true), times);
    // Anna no longer counts: Ben and Carla do.
    assert.match((await j.load('--trust', node)).stderr, /E_UNTRUSTED.*|anna .*revoked/);
    await ok(j, 'sign', j.bundle, '--key', ben.key, '--key', carla.key);
    const loaded = await j.load('--trust', node);
    assert.equal(loaded.code, 0, loaded.stderr);

    const third = j.path('third.json');
    await ok(j, 'trust', 'rotate', node, '--threshold', '1', '-o', third, '--key', ben.key, '--key', carla.key);
    assert.match((await j.run(['trust', 'rotate', trust, '--apply', third])).stderr, /rotation to version 2 is missing/);
    assert.equal((await apply(third)).code, 0);
    assert.match((await apply(bens)).stderr, /E_ROLLBACK/);
    assert.equal((await ok(j, 'trust', 'rotate', trust, '--apply', third, '--apply', annas, '--apply', bens)).version, 3);
    assert.deepEqual(readFileSync(join(trust, 'trust.json')), readFileSync(join(node, 'trust.json')));
  });

  it('rotate wants one thing at a time, and overwrites no other file', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await init(s);
    const file = j.path('r.json');
    const make = (...argv: string[]) => j.run(['trust', 'rotate', trust, '-o', file, '--key', anna.key, ...argv]);
    assert.equal((await make('--add', `carla=${carla.pub}`)).code, 0);
    const bytes = readFileSync(file);
    assert.equal((await make('--add', `carla=${carla.pub}`)).code, 0, 'the same again');
    assert.deepEqual(readFileSync(file), bytes);
    assert.match((await make('--add', `carl=${carla.pub}`)).stderr, /is there already and is not this rotation/);
    assert.match((await make('--threshold', '2')).stderr, /nothing to rotate/);
    assert.match((await make('--sign', file, '--threshold', '1')).stderr, /one of three/);
    assert.match((await make()).stderr, /one of three/);
    assert.match((await make('--add', `carla=${carla.pub}`, '--apply', file)).stderr, /one of three/);
    assert.match((await j.run(['trust', 'rotate', '--apply', file])).stderr, /which trust/);
    assert.match((await j.run(['trust', 'rotate', '--sign', file])).stderr, /no key to sign/);
    const other = j.path('other');
    await ok(j, 'trust', 'init', other, '--add', `ben=${ben.pub}`);
    assert.match((await j.run(['trust', 'rotate', other, '--sign', file, '--key', ben.key])).stderr, /starts from another trust/);
    const shown = await j.run(['trust', 'show', file]);
    assert.match(shown.stdout, /\+ carla .*\n +the keys trusted before it: 2 needed, signed: anna .*: 1 more is needed/);
    assert.deepEqual(readFileSync(file), bytes);
  });

  it('rotate -o - is the file on standard output, and what it says goes to standard error', async (t) => {
    const s = await site(t);
    const { j, trust, anna, carla } = s;
    await init(s);
    const disk = createFaultFileSystem(nodeFileSystem);
    const rotate = (...argv: string[]) => j.run(['trust', 'rotate', ...argv, '-o', '-'], { fs: disk });
    const made = await rotate(trust, '--add', `carla=${carla.pub}`, '--key', anna.key);
    assert.equal(made.code, 0, made.stderr);
    assert.equal(made.json().signatures.length, 1);
    assert.match(made.stderr, /\+ carla/);
    writeFileSync(j.path('r.json'), made.stdout);
    const signed = await rotate('--sign', j.path('r.json'), '--key', carla.key);
    assert.equal(signed.json().signatures.length, 2);
    assert.equal(readFileSync(j.path('r.json'), 'utf8'), made.stdout);
    const both = await rotate('--sign', j.path('r.json'), '--key', carla.key, '--json');
    assert.equal(both.code, 2);
    const dry = await rotate(trust, '--add', `carla=${carla.pub}`, '--dry-run');
    assert.equal(dry.stdout, '');
    assert.deepEqual(disk.operations, []);
  });

  it('a rotation says who has signed it, by name, who signs now and who had signed already', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await init(s);
    const file = j.path('r.json');
    await ok(j, 'trust', 'rotate', trust, '--add', `carla=${carla.pub}`, '-o', file);
    const sign = (key: string) => j.run(['trust', 'rotate', '--sign', file, '--key', key]);
    assert.match((await sign(anna.key)).stdout, /signed by anna \([0-9a-f]{16}…\)\n/);
    const again = await sign(anna.key);
    assert.match(again.stdout, /anna \(.*\) had signed it already\n/);
    assert.doesNotMatch(again.stdout, /signed by anna/);
    await sign(carla.key);
    const shown = await j.run(['trust', 'show', file]);
    assert.match(shown.stdout, /the keys trusted before it: 2 needed, signed: anna \([0-9a-f]{16}…\): 1 more is needed\n/);
    assert.match(shown.stdout, /the keys it leads to: 2 needed, signed: anna \(.*\), carla \([0-9a-f]{16}…\)\n/);
    const json = await ok(j, 'trust', 'rotate', '--sign', file, '--key', ben.key);
    assert.deepEqual([json.added, json.present, json.complete], [[ben.keyid], [], true]);
  });

  it('says whether a change is in force, would be, or had been made', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await init(s);
    const file = j.path('r.json');
    const keys = ['--key', anna.key, '--key', ben.key];
    await ok(j, 'trust', 'rotate', trust, '--add', `carla=${carla.pub}`, '-o', file, ...keys);
    const apply = (...flags: string[]) => j.run(['trust', 'rotate', trust, '--apply', file, ...flags]);
    assert.match((await apply('--dry-run')).stdout, /^version 2 would be in force; nothing was written\n/);
    assert.equal((await apply('--dry-run', '--json')).json().dryRun, true);
    assert.equal((await ok(j, 'trust', 'show', trust)).version, 1);
    assert.match((await apply()).stdout, /^version 2 is in force now\n/);
    const again = await apply('--json');
    assert.deepEqual([again.json().dryRun, again.json().changes], [false, []]);
    const remove = () => j.run(['trust', 'remove', trust, 'carla', '--revoke']);
    const removed = await remove();
    assert.match(
      removed.stdout,
      /^version 3 is in force now\n~ carla \([0-9a-f]{16}…\) now revoked since .*, before without limits\n/,
    );
    assert.match(removed.stdout, /version 3: 2 of the 2 keys that count must sign \(3 are listed\)\n/);
    assert.match((await remove()).stdout, /^nothing to do: /);
    assert.match((await j.run(['trust', 'add', trust, `anna=${anna.pub}`])).stdout, /^nothing to do: /);
  });

  it('add again changes the terms of a key, and a name that is taken is said to be', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await ok(j, 'trust', 'init', trust, '--add', `anna=${anna.pub}`);
    await ok(j, 'trust', 'add', trust, `ben=${ben.pub}`);
    const limited = await j.run(['trust', 'add', trust, `ben=${ben.pub}`, '--until', '2099-01-01']);
    assert.equal(limited.code, 0, limited.stderr);
    assert.match(limited.stdout, /~ ben \([0-9a-f]{16}…\) now until 2099-01-01T00:00:00Z, before without limits\n/);
    const free = await j.run(['trust', 'add', trust, `ben=${ben.pub}`]);
    assert.match(free.stdout, /~ ben \([0-9a-f]{16}…\) now without limits, before until 2099/);
    assert.equal((await ok(j, 'trust', 'show', trust)).version, 4);
    const taken = await j.run(['trust', 'add', trust, `ben=${carla.pub}`]);
    assert.match(taken.stderr, /the name ben is that of another key here, ben \(/);
    assert.match(taken.stderr, /E_TRUST_FILE/);
    const twice = await j.run(['trust', 'add', trust, `benjamin=${ben.pub}`]);
    assert.match(twice.stderr, /benjamin: this key is here already as ben/);
  });

  it('init gives all its keys the terms of its flags; a time that is over is warned of', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben } = s;
    const keys = ['--add', `anna=${anna.pub}`, '--add', `ben=${ben.pub}`, '--threshold', '1'];
    const made = await ok(j, 'trust', 'init', trust, ...keys, '--until', '2099-01-01');
    assert.deepEqual(
      made.keys.map((key: { until: string }) => key.until),
      ['2099-01-01T00:00:00Z', '2099-01-01T00:00:00Z'],
    );
    const late = await j.run(['trust', 'add', trust, `ben=${ben.pub}`, '--until', '2020-01-01']);
    assert.equal(late.code, 0, late.stderr);
    assert.match(late.stderr, /^warning: --until 2020-01-01T00:00:00Z is over/m);
  });

  it('a machine that was changed by hand is told that it left the common line, and what to do', async (t) => {
    const s = await site(t);
    const { j, trust, anna, ben, carla } = s;
    await init(s);
    const node = j.path('node');
    cpSync(trust, node, { recursive: true });
    const file = j.path('r.json');
    await ok(j, 'trust', 'rotate', trust, '--add', `carla=${carla.pub}`, '-o', file, '--key', anna.key, '--key', ben.key);
    const apply = () => j.run(['trust', 'rotate', node, '--apply', file]);
    for (const [flags, code] of [
      [['--until', '2098-01-01'], 'E_UNTRUSTED'],
      [['--until', '2099-01-01'], 'E_ROLLBACK'],
    ] as const) {
      await ok(j, 'trust', 'add', node, `carla=${carla.pub}`, ...flags);
      const ran = await apply();
      assert.match(ran.stderr, new RegExp(code));
      assert.match(ran.stderr, /left the common line/);
      assert.match(ran.stderr, /bring trust\.json from a machine/);
    }
    // What the hint says: the common document back in its place, and the rotation applies.
    cpSync(join(trust, 'trust.json'), join(node, 'trust.json'));
    assert.equal((await apply()).code, 0);
  });
});
