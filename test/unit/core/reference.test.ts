import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Digest } from '../../../src/core/digest.ts';
import {
  formatReference,
  isRepository,
  originPath,
  parseOrigin,
  parseReference,
  type Reference,
  targetRepository,
} from '../../../src/core/reference.ts';

const D = `sha256:${'a'.repeat(64)}`;
const KELVIN = '\u212a';

const hasCode = (code: string) => (error: unknown) => (error as { code?: string }).code === code;

describe('parseReference reads what users write', () => {
  const table: readonly [string, string][] = [
    ['redis', 'docker.io/library/redis:latest'],
    ['redis:7', 'docker.io/library/redis:7'],
    ['redis:1.10', 'docker.io/library/redis:1.10'],
    ['library/redis:7', 'docker.io/library/redis:7'],
    ['grafana/grafana', 'docker.io/grafana/grafana:latest'],
    ['docker.io/redis', 'docker.io/library/redis:latest'],
    ['docker.io/library/redis', 'docker.io/library/redis:latest'],
    ['index.docker.io/redis:7', 'docker.io/library/redis:7'],
    ['registry-1.docker.io/library/redis:7', 'docker.io/library/redis:7'],
    ['Docker.IO/redis', 'docker.io/library/redis:latest'],
    ['GHCR.io/a/b:v1', 'ghcr.io/a/b:v1'],
    [`redis@${D}`, `docker.io/library/redis@${D}`],
    [`ghcr.io/a/b:v1@${D}`, `ghcr.io/a/b:v1@${D}`],
    ['localhost/x', 'localhost/x:latest'],
    ['localhost', 'docker.io/library/localhost:latest'],
    ['localhost:5000', 'docker.io/library/localhost:5000'],
    ['localhost:5000/x', 'localhost:5000/x:latest'],
    ['host:5000/x:tag', 'host:5000/x:tag'],
    [`host:5000/x:tag@${D}`, `host:5000/x:tag@${D}`],
    ['127.0.0.1:5000/x', '127.0.0.1:5000/x:latest'],
    ['[fd00::1]:5000/x', '[fd00::1]:5000/x:latest'],
    ['[FD00::1]:5000/x', '[fd00::1]:5000/x:latest'],
    ['[::1]/x:1', '[::1]/x:1'],
    ['quay.io/a/b/c/d/e:1', 'quay.io/a/b/c/d/e:1'],
    ['quay.io/a__b/c--d/e.f_g:_1', 'quay.io/a__b/c--d/e.f_g:_1'],
    [`x:${'t'.repeat(128)}`, `docker.io/library/x:${'t'.repeat(128)}`],
    ['xn--bcher-kva.example/x', 'xn--bcher-kva.example/x:latest'],
  ];
  for (const [text, full] of table) {
    test(`${text.slice(0, 60)} is ${full.slice(0, 60)}`, () => assert.equal(formatReference(parseReference(text)), full));
  }

  test('tag and digest are both kept, and a digest alone gets no tag', () => {
    assert.deepEqual(parseReference(`redis:7@${D}`), { origin: 'docker.io', repository: 'library/redis', tag: '7', digest: D });
    assert.deepEqual(parseReference(`redis@${D}`), { origin: 'docker.io', repository: 'library/redis', digest: D });
  });
});

describe('parseReference refuses', () => {
  const table: readonly string[] = [
    '',
    ' ',
    ' redis',
    'redis ',
    'redis\n',
    'redis:7\n',
    'ghcr.io/a/b\n',
    'redis\0',
    'redis:',
    'redis:7:8',
    ':7',
    '@',
    `@${D}`,
    'redis@',
    'redis@sha256:abc',
    `redis@${D}@${D}`,
    `redis@${D}:7`,
    'Redis',
    'FOO/x',
    'ghcr.io/A/b',
    'ghcr.io/',
    'ghcr.io//a',
    'ghcr.io/a//b',
    'ghcr.io/a/',
    '/a/b',
    'a/../b',
    '../b',
    'ghcr.io/../../etc/passwd',
    'ghcr.io/a/.',
    './a',
    'a/-b',
    'a/b-',
    'a/b___c',
    'a/b..c',
    'a/_b',
    'a\\b',
    'a?b',
    'a#b',
    'a%2fb',
    'http://ghcr.io/a',
    'https://ghcr.io/a',
    'oci://ghcr.io/a',
    'docker://redis',
    'reg@evil.com/x',
    'user:pass@ghcr.io/x',
    'ghcr.io@evil.com/x:1',
    'evil.com\\@ghcr.io/x',
    'ghcr.io:/x',
    'ghcr.io:0/x',
    'ghcr.io:65536/x',
    'ghcr.io:99999/x',
    'ghcr.io:05000/x',
    'ghcr.io:5e3/x',
    'ghcr.io:-1/x',
    'ghcr..io/x',
    '.ghcr.io/x',
    'ghcr.io./x',
    '-ghcr.io/x',
    'a_b.io/x',
    '[::1/x',
    '::1/x',
    '[]/x',
    '[fd00:1]:5000/x',
    '[g::1]/x',
    '[::1]5000/x',
    '[::1%25eth0]/x',
    // Another spelling of an address: two names at the target for one place, and a loopback address in disguise.
    '0x7f.1/x',
    '0x7f000001:80/x',
    '127.1/x',
    '127.000.000.001/x',
    '2130706433.1.1/x',
    '256.256.256.256/x',
    '[0:0::1]/x',
    '[::0001]:5000/x',
    // Confusables
    `${KELVIN}8s.io/x`,
    `registry.${KELVIN}8s.io/pause:3`,
    'gh\u0441r.io/a/b',
    'ghcr\u3002io/a/b',
    'ghcr\uff0eio/a/b',
    'ghcr\u2024io/a/b',
    'redi\u0455:7',
    'redis\uff1a7',
    'redis:\u0667',
    'redis\u200b:7',
    'ghcr.io\u2215a/b',
    '\ufeffredis',
    'f\u0131le/x',
    'redis:7\u00a0',
    'a'.repeat(64),
    `ghcr.io/${'a'.repeat(248)}`,
    'a'.repeat(600),
    `x:${'t'.repeat(129)}`,
    'x:.t',
    'x:-t',
    `${'a/'.repeat(200)}a`,
  ];
  for (const text of table) {
    test(`${JSON.stringify(text.slice(0, 60))} as E_REFERENCE, naming it`, () => {
      assert.throws(
        () => parseReference(text),
        (error: Error) => hasCode('E_REFERENCE')(error) && error.message.startsWith('reference "') && error.message.length < 700,
      );
    });
  }

  test('a long hostile reference quickly (no backtracking)', () => {
    const before = performance.now();
    for (const text of [
      `${'a-'.repeat(250)}!`,
      `${'a.'.repeat(250)}!`,
      `${'a_'.repeat(250)}!`,
      `${'-'.repeat(500)}!`,
      `a${'-'.repeat(500)}`,
    ])
      assert.throws(() => parseReference(text), hasCode('E_REFERENCE'));
    assert.ok(performance.now() - before < 500);
  });

  test('a scheme with a hint that says what to leave out', () => {
    assert.throws(() => parseReference('https://ghcr.io/a'), { hint: 'write it without "https://"' });
  });
});

const label = fc.stringMatching(/^[a-z0-9]{1,8}$/);
const component = fc.stringMatching(/^[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}$/);
const host = fc.oneof(
  fc.tuple(label, fc.constantFrom('io', 'example', 'internal')).map((parts) => parts.join('.')),
  fc.ipV4(),
  fc.constantFrom('[fd00::1]', '[::1]', '[2001:db8::5:1]', 'localhost'),
);
const origin = fc
  .tuple(host, fc.option(fc.integer({ min: 1, max: 65_535 }), { nil: undefined }))
  .map(([name, port]) => (port === undefined ? name : `${name}:${port}`));
const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/);
const digest = fc.stringMatching(/^[0-9a-f]{64}$/).map((hex) => `sha256:${hex}` as Digest);
const reference: fc.Arbitrary<Reference> = fc
  .record({ origin, path: fc.array(component, { minLength: 1, maxLength: 4 }), tag: fc.option(tag), digest: fc.option(digest) })
  .filter((r) => r.tag !== null || r.digest !== null)
  .map((r) => ({
    origin: r.origin,
    repository: r.path.join('/'),
    ...(r.tag === null ? {} : { tag: r.tag }),
    ...(r.digest === null ? {} : { digest: r.digest }),
  }));

describe('properties of references', () => {
  test('parse(format(x)) = x', () => {
    fc.assert(fc.property(reference, (ref) => assert.deepEqual(parseReference(formatReference(ref)), ref)));
  });

  test('whatever parses, formats to something that parses to the same', () => {
    const odd = fc.oneof(
      fc.string({ unit: fc.constantFrom(...'aA0.:/@_-[]kK\u212a'), maxLength: 24 }),
      fc.string({ unit: 'grapheme', maxLength: 24 }),
      fc.tuple(fc.string({ unit: fc.constantFrom(...'aB1.-:[]'), maxLength: 10 }), component).map((parts) => parts.join('/')),
    );
    fc.assert(
      fc.property(odd, (text) => {
        let ref: Reference;
        try {
          ref = parseReference(text);
        } catch (error) {
          return assert.ok(hasCode('E_REFERENCE')(error), String(error));
        }
        assert.deepEqual(parseReference(formatReference(ref)), ref);
        assert.match(formatReference(ref), /^[\x21-\x7e]+$/);
      }),
      { numRuns: 2000 },
    );
  });

  test('different origins never share a path at the target', () => {
    const other = fc.oneof(
      origin,
      fc.ipV6().map((ip) => new URL(`http://[${ip}]`).hostname),
    );
    fc.assert(
      fc.property(other, other, (a, b) => {
        fc.pre(a !== b);
        assert.notEqual(originPath(parseOrigin(a)), originPath(parseOrigin(b)));
      }),
    );
  });
});

describe('the name at the target', () => {
  const table: readonly [string, string][] = [
    ['redis', 'docker.io/library/redis'],
    ['host:5000/x', 'host_5000/x'],
    ['[fd00::1]:5000/x', 'fd00--1_5000/x'],
    ['[fd00:1::]:5000/x', 'fd00-1--0_5000/x'],
    ['[::1]/x', '0--1/x'],
    ['[::]:1/x', '0--0_1/x'],
    ['[1:2:3:4:5:6:7:8]/x', '1-2-3-4-5-6-7-8/x'],
    ['a--b.c/x', 'a--b.c/x'],
  ];
  for (const [text, name] of table) {
    test(`${text} is ${name}, which is a repository name`, () => {
      assert.equal(targetRepository(parseReference(text)), name);
      assert.ok(isRepository(name));
    });
  }

  test('a name that the prefix makes too long is E_REFERENCE', () => {
    const ref = { origin: 'docker.io', repository: 'a'.repeat(250) };
    assert.throws(() => targetRepository(ref), hasCode('E_REFERENCE'));
  });
});

describe('parseOrigin', () => {
  for (const text of ['', 'a/b', 'a b', 'a\n', 'http://a', 'a:b', 'a@b', 'a:', `${KELVIN}.io`, '[::1', 'a.0x10', '1.2.3'])
    test(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => parseOrigin(text), hasCode('E_REFERENCE')));
  test('gives another spelling back as a hint', () => {
    assert.throws(() => parseOrigin('[0:0::1]:5000'), { code: 'E_REFERENCE', hint: 'write it as [::1]:5000' });
  });
  test('takes a bare host, which flags name', () => assert.equal(parseOrigin('Node-1:5000'), 'node-1:5000'));
});
