import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isUnknownPlatform, parsePlatform, platformOf } from '../../../src/core/platform.ts';

describe('platforms are normalised as containerd does it', () => {
  const table: readonly [string, string][] = [
    ['linux/amd64', 'linux/amd64'],
    ['Linux/AMD64', 'linux/amd64'],
    ['linux/x86_64', 'linux/amd64'],
    ['linux/x86-64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/arm64', 'linux/arm64'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/arm64/v9', 'linux/arm64/v9'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/arm/7', 'linux/arm/v7'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/i386', 'linux/386'],
    ['linux/riscv64', 'linux/riscv64'],
    ['linux/s390x', 'linux/s390x'],
    ['windows/amd64', 'windows/amd64'],
    ['linux/constructor', 'linux/constructor'],
    ['linux/__proto__', 'linux/__proto__'],
  ];
  for (const [text, platform] of table) test(`${text} is ${platform}`, () => assert.equal(parsePlatform(text), platform));

  test('Windows builds are one platform, and a descriptor without variant is the usual one', () => {
    assert.equal(platformOf({ os: 'windows', architecture: 'amd64', 'os.version': '10.0.1' }), 'windows/amd64');
    assert.equal(
      platformOf({ os: 'linux', architecture: 'arm' }),
      platformOf({ os: 'linux', architecture: 'arm', variant: 'v7' }),
    );
    assert.equal(
      platformOf({ os: 'linux', architecture: 'arm64' }),
      platformOf({ os: 'Linux', architecture: 'AARCH64', variant: '8' }),
    );
  });

  test('words that every object has are no surprise in an index of somebody else', () => {
    for (const word of ['constructor', '__proto__', 'toString', 'hasOwnProperty'])
      assert.equal(platformOf({ os: 'linux', architecture: word }), `linux/${word.toLowerCase()}`);
  });

  test('parsing twice changes nothing', () => {
    const word = fc.constantFrom(
      'amd64',
      'x86_64',
      'arm',
      'arm64',
      'armhf',
      'armel',
      'i386',
      'aarch64',
      'ppc64le',
      'constructor',
    );
    const variant = fc.constantFrom('', '/v1', '/v6', '/v7', '/v8', '/7', '/8', '/v9');
    fc.assert(
      fc.property(word, variant, (arch, v) => {
        const once = parsePlatform(`linux/${arch}${v}`);
        assert.equal(parsePlatform(once), once);
      }),
    );
  });
});

describe('parsePlatform refuses', () => {
  const table = [
    '',
    'linux',
    'linux/',
    '/amd64',
    'linux/amd64/',
    'a/b/c/d',
    'linux/amd64\n',
    'linux amd64',
    'linux/../x',
    'lin\u212a/amd64',
    'linux/\u0430md64',
    'linux/amd64 ',
    `linux/${'a'.repeat(1000)}`,
    'all',
  ];
  for (const text of table)
    test(`${JSON.stringify(text.slice(0, 40))} as E_MANIFEST with an example`, () => {
      assert.throws(() => parsePlatform(text), { code: 'E_MANIFEST', message: /such as linux\/arm64$/ });
    });
});

test("only BuildKit's mark is an unknown platform", () => {
  assert.equal(isUnknownPlatform({ os: 'unknown', architecture: 'unknown' }), true);
  assert.equal(isUnknownPlatform({ os: 'linux', architecture: 'unknown' }), false);
  assert.equal(isUnknownPlatform(undefined), false);
});
