import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { formatReference } from '../../../src/core/reference.ts';
import { parseManifest } from '../../../src/manifest/read-manifest.ts';
import { throwsWith } from '../../support/assert-code.ts';

const HEAD = 'apiVersion: bundle/v1\nname: lumen\n';
const parse = (rest: string, file = 'manifests/lumen.yaml') => parseManifest(HEAD + rest, file);
const D = (c: string) => `sha256:${c.repeat(64)}`;

describe('parseManifest', () => {
  test('reads both forms of an image, the defaults and the overrides', () => {
    const manifest = parse(`platforms: [linux/arm64, linux/x86_64]
images:
  - docker.io/library/traefik:v3.6.8          # short form
  - ref: quay.io/argoproj/argocd:v3.2.0
    aliases: [argoproj/argocd:v3.2.0, argocd:latest]
    platforms: [linux/arm/7]
    index: exact
  - {ref: ghcr.io/aquasecurity/trivy-db:2, platforms: all}
imageLists: [k3s-images.txt, ../shared/x.txt, /abs/y.txt, "https://example.com/a.txt?sig=1"]
expires: 30d
`);
    assert.deepEqual(manifest, {
      name: 'lumen',
      platforms: ['linux/arm64', 'linux/amd64'],
      images: [
        {
          ref: { origin: 'docker.io', repository: 'library/traefik', tag: 'v3.6.8' },
          text: 'docker.io/library/traefik:v3.6.8',
          platforms: ['linux/arm64', 'linux/amd64'],
          aliases: [],
          where: 'manifests/lumen.yaml:5:5',
        },
        {
          ref: { origin: 'quay.io', repository: 'argoproj/argocd', tag: 'v3.2.0' },
          text: 'quay.io/argoproj/argocd:v3.2.0',
          platforms: ['linux/arm/v7'],
          index: 'exact',
          aliases: [
            { repository: 'argoproj/argocd', tag: 'v3.2.0' },
            { repository: 'argocd', tag: 'latest' },
          ],
          where: 'manifests/lumen.yaml:6:5',
        },
        {
          ref: { origin: 'ghcr.io', repository: 'aquasecurity/trivy-db', tag: '2' },
          text: 'ghcr.io/aquasecurity/trivy-db:2',
          platforms: 'all',
          aliases: [],
          where: 'manifests/lumen.yaml:10:5',
        },
      ],
      imageLists: ['manifests/k3s-images.txt', 'shared/x.txt', '/abs/y.txt', 'https://example.com/a.txt?sig=1'],
      expiresMs: 30 * 86_400_000,
    });
  });

  test('without platforms means all of them, and without expires for ever', () => {
    const manifest = parse('images: [redis:7]');
    assert.equal(manifest.platforms, 'all');
    assert.equal(manifest.images[0]?.platforms, 'all');
    assert.equal('expiresMs' in manifest, false);
  });

  test('takes a byte order mark, CRLF, a document marker and an end marker', () => {
    assert.equal(parseManifest(`\ufeff---\r\n${HEAD.replaceAll('\n', '\r\n')}images: [redis:7]\r\n...\r\n`, 'x').name, 'lumen');
  });

  test('takes quoted and folded text', () => {
    const manifest = parse(`images:\n  - "redis:7"\n  - 'busybox:1.10'\n  - >-\n    alpine:3\n`);
    assert.deepEqual(
      manifest.images.map((image) => image.text),
      ['redis:7', 'busybox:1.10', 'alpine:3'],
    );
  });

  for (const written of [
    '1.10',
    '010',
    '1e3',
    'yes',
    'no',
    'null',
    'true',
    '0x1f',
    '0o17',
    '1_000',
    '12:30:45',
    '2026-01-01',
    '.5',
  ])
    test(`keeps ${written} as the text that it is`, () => {
      // As a tag it can't be mistaken, so the name of the bundle and of a repository are where YAML's types would show.
      const valid = /^[a-z0-9]/.test(written) && !/[:]/.test(written);
      if (valid) assert.equal(parseManifest(`apiVersion: bundle/v1\nname: ${written}\nimages: [redis]`, 'x').name, written);
      const where = throwsWith(() => parse(`images: [{ref: redis, index: ${written}}]`), 'E_MANIFEST');
      assert.match(where.message, new RegExp(`:3:30: .*got the text "${written.replaceAll('.', '\\.')}"`));
    });

  test('equal settings for one reference collapse, however the reference is spelt', () => {
    const manifest = parse(`images:
  - redis:7
  - docker.io/library/redis:7
  - {ref: index.docker.io/redis:7, platforms: all}
  - {ref: a:1, platforms: [linux/arm64, linux/amd64], aliases: [x:1, y:1, x:1]}
  - {ref: a:1, platforms: [linux/amd64, linux/aarch64/v8], aliases: [y:1, x:1]}
`);
    assert.deepEqual(
      manifest.images.map((image) => formatReference(image.ref)),
      ['docker.io/library/redis:7', 'docker.io/library/a:1'],
    );
    assert.deepEqual(manifest.images[1]?.platforms, ['linux/arm64', 'linux/amd64']);
  });

  test('different settings for one reference are an error that names both places', () => {
    const error = throwsWith(() => parse('images:\n  - redis:7\n  - {ref: docker.io/redis:7, index: exact}\n'), 'E_MANIFEST');
    assert.match(error.message, /^manifests\/lumen\.yaml:5:5: .*listed twice.*\(first at manifests\/lumen\.yaml:4:5\)$/);
  });

  test('one tag pinned to two digests is an error that names both places', () => {
    const error = throwsWith(() => parse(`images:\n  - redis:7@${D('a')}\n  - redis:7@${D('b')}\n`), 'E_MANIFEST');
    assert.match(error.message, /lumen\.yaml:5:5: .*another digest at manifests\/lumen\.yaml:4:5/);
  });

  test('one repository by tag and by two digests without tag is fine', () => {
    assert.equal(parse(`images: [redis:7, "redis@${D('a')}", "redis@${D('b')}"]`).images.length, 3);
  });

  test('all problems are told at once, in the order of the file', () => {
    const error = throwsWith(
      () => parse('images:\n  - Redis\n  - {ref: a, alises: [x], platforms: [b]}\nplatfroms: all\nexpires: soon\n'),
      'E_MANIFEST',
    );
    assert.deepEqual(
      error.message.split('\n').map((line) => line.split(': ').slice(0, 2).join(' ')),
      [
        'manifests/lumen.yaml:4:5 images[0]',
        'manifests/lumen.yaml:5:14 images[1].alises',
        'manifests/lumen.yaml:5:39 images[1].platforms[0]',
        'manifests/lumen.yaml:6:1 platfroms',
        'manifests/lumen.yaml:7:10 expires',
      ],
    );
  });

  test('of more than twenty problems twenty are told, and how many are left', () => {
    const error = throwsWith(() => parse(`images:\n${'  - BAD\n'.repeat(50)}`), 'E_MANIFEST');
    const lines = error.message.split('\n');
    assert.equal(lines.length, 21);
    assert.equal(lines[20], '… and 30 more');
    assert.equal(error.detail.problems, 50);
  });
});

describe('"did you mean"', () => {
  const table: readonly [string, RegExp][] = [
    ['imagez: [a]', /:3:1: imagez: unknown key; did you mean "images"\?/],
    ['Images: [a]', /did you mean "images"\?/],
    ['imagelist: [a]', /did you mean "imageLists"\?/],
    ['platfroms: all', /did you mean "platforms"\?/],
    ['platform: all', /did you mean "platforms"\?/],
    ['expire: 1d', /did you mean "expires"\?/],
    ['images: [{reff: a}]', /images\[0\]\.reff: unknown key; did you mean "ref"\?/],
    ['images: [{ref: a, idnex: exact}]', /did you mean "index"\?/],
    ['images: [{ref: a, index: exakt}]', /did you mean "exact"\?/],
    ['platforms: al', /did you mean "all"\?/],
    ['platforms: linux/arm64', /a list of one is written \[linux\/arm64\]/],
    ['platforms: [all]', /"all" stands alone/],
  ];
  for (const [rest, message] of table) test(rest, () => void throwsWith(() => parse(rest), 'E_MANIFEST', message));

  for (const key of ['charts', 'artifacts', 'files', 'sbom', 'x', 'zzzzzz'])
    test(`${key} is only unknown: nothing near it is known, and a key that nothing reads would be a lie`, () => {
      throwsWith(() => parse(`images: [a]\n${key}: []`), 'E_MANIFEST', /unknown key$/);
    });
  test('what is known of the whole is not known of an image', () => {
    throwsWith(() => parse('images: [{ref: a, trustedRoot: k}]'), 'E_MANIFEST', /images\[0\]\.trustedRoot: unknown key/);
  });
});

describe('names', () => {
  const named = (name: string) => parseManifest(`apiVersion: bundle/v1\nname: ${name}\nimages: [a]`, 'm.yaml');
  for (const good of ['a', '0', 'lumen-2.1_x', 'a'.repeat(64), 'con-1', 'null', 'nulls', 'a.con', 'com10'])
    test(`${good.slice(0, 20)} is one`, () => assert.equal(named(good).name, good));
  const bad = [
    '""',
    'A',
    'Lumen',
    '../../x',
    'a/b',
    '.',
    '..',
    '.a',
    '-a',
    '_a',
    'a..b',
    'a.',
    'a'.repeat(65),
    'a'.repeat(300),
    '"a\\0"',
  ];
  const odd = [
    '"a b"',
    '"a\\n"',
    'con',
    'prn',
    'aux',
    'nul',
    'com1',
    'lpt9',
    'con.x',
    'nul.tar.gz',
    'ä',
    '"a\\\\b"',
    'c:x',
    '~',
    'а',
  ];
  for (const name of [...bad, ...odd])
    test(`${name.slice(0, 20)} is none`, () => void throwsWith(() => named(name), 'E_MANIFEST', /^m\.yaml:2:7: name: /));
});

describe('aliases', () => {
  const aliased = (...aliases: string[]) => parse(`images: [{ref: foo:5000/app:1, aliases: [${aliases.join(', ')}]}]`);
  for (const good of ['argocd:v1', 'argoproj/argocd:v3.2.0', 'a/b/c/d:1.10', 'charts:1', 'team_5/x:1', 'localhost:1'])
    test(`${good} is one`, () => assert.equal(aliased(good).images[0]?.aliases.length, 1));

  const D1 = `x:1@${D('a')}`;
  const bad = [
    'x',
    'a/b',
    'docker.io/x:1',
    'node-1.lan/x:1',
    'localhost/x:1',
    '"host:5000/x:1"',
    'charts/x:1',
    'X:1',
    '":1"',
    '"x:"',
    D1,
  ];
  for (const alias of [...bad, 'a//b:1', '../x:1', '/x:1', '"x:1\\n"', '"http://x/y:1"', `${'a/'.repeat(200)}b:1`])
    test(`${alias.slice(0, 30)} is none`, () =>
      void throwsWith(() => aliased(alias), 'E_MANIFEST', /:3:\d+: images\[0\]\.aliases\[0\]: alias /));

  test('one that begins with the path of an origin of this bundle is E_ALIAS_CONFLICT', () => {
    throwsWith(() => aliased('foo_5000/y:1'), 'E_ALIAS_CONFLICT', /lumen\.yaml:3:10: .*path of an origin/);
  });
  test('one on two images is E_ALIAS_CONFLICT that names both', () => {
    const error = throwsWith(
      () => parse('images:\n  - {ref: a:1, aliases: [x/y:1]}\n  - {ref: b:1, aliases: [z:1, x/y:1]}\n'),
      'E_ALIAS_CONFLICT',
    );
    assert.match(
      error.message,
      /lumen\.yaml:5:5: "b:1": the alias x\/y:1 already belongs to "a:1" \(manifests\/lumen\.yaml:4:5\)/,
    );
  });
  test('one repository under two tags is no conflict', () => {
    assert.equal(parse('images: [{ref: a:1, aliases: [x:1]}, {ref: a:2, aliases: [x:2]}]').images.length, 2);
  });
});

describe('expires', () => {
  const table: readonly [string, number][] = [
    ['1h', 3_600_000],
    ['12h', 43_200_000],
    ['30d', 2_592_000_000],
    ['6w', 3_628_800_000],
    ['3650d', 315_360_000_000],
  ];
  for (const [text, ms] of table)
    test(`${text} is ${ms} ms`, () => assert.equal(parse(`images: [a]\nexpires: ${text}`).expiresMs, ms));
  for (const text of ['0d', '-1d', '1.5d', '5m', '30', 'd', '30 d', '1d12h', 'P30D', '3651d', '999999999d', '1e3h', '~', ''])
    test(`"${text}" is refused with the forms that are taken or why`, () => {
      throwsWith(
        () => parse(`images: [a]\nexpires: ${text}`),
        'E_MANIFEST',
        /lumen\.yaml:4:\d+: expires: .*(12h, 30d or 6w|ten years)/,
      );
    });
});

describe('imageLists', () => {
  for (const source of ['ftp://x/y', 'file:///etc/passwd', 'oci://x/y', '"http://"', '""', '"a\\0b"', '"a\\nb"'])
    test(`${source} is refused`, () =>
      void throwsWith(() => parse(`imageLists: [${source}]`), 'E_MANIFEST', /:3:14: imageLists\[0\]: /));
  test('a URL with a password is refused without showing it', () => {
    const error = throwsWith(
      () => parse('imageLists: ["https://u:s3cret@example.com/x"]'),
      'E_MANIFEST',
      /user name or password/,
    );
    assert.equal(error.message.includes('s3cret'), false);
  });
  test('the same list twice is one', () =>
    assert.deepEqual(parse('imageLists: [a.txt, ./a.txt]', 'x.yaml').imageLists, ['a.txt']));
  test('with lists, images may be empty or absent', () => {
    assert.equal(parse('images: []\nimageLists: [a.txt]').images.length, 0);
    assert.equal(parse('imageLists: [a.txt]').images.length, 0);
  });
});

test('every reference that is written into a manifest comes out as it was', () => {
  const part = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const tag = fc.oneof(
    fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,10}$/),
    fc.constantFrom('1.10', '010', '1e3', 'null', 'yes'),
  );
  const ref = fc.tuple(part, part, tag).map(([a, b, t]) => `quay.io/${a}/${b}:${t}`);
  fc.assert(
    fc.property(fc.uniqueArray(ref, { minLength: 1, maxLength: 10 }), fc.boolean(), (refs, flow) => {
      const text = flow ? `images: [${refs.join(', ')}]\n` : `images:\n${refs.map((r) => `  - ${r}\n`).join('')}`;
      assert.deepEqual(
        parse(text).images.map((image) => formatReference(image.ref)),
        refs,
      );
    }),
  );
});
