import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { algorithmOf, digestOf, hexOf, isDigest, parseDigest } from '../../../src/core/digest.ts';

const HEX64 = '0123456789abcdef'.repeat(4);

describe('digest', () => {
  for (const good of [`sha256:${HEX64}`, `sha512:${HEX64}${HEX64}`]) {
    test(`${good.slice(0, 20)}… (${good.length} characters) is a digest`, () => {
      assert.equal(parseDigest(good), good);
    });
  }

  // CVE-2024-3727: an unchecked digest string becomes a path.
  const hostile: readonly unknown[] = [
    'sha256:../../../etc/passwd',
    `sha256:${'../'.repeat(21)}a`,
    `sha256:${HEX64.toUpperCase()}`,
    `SHA256:${HEX64}`,
    `sha256:${HEX64.slice(1)}`,
    `sha256:${HEX64}0`,
    'sha256:',
    `sha512:${HEX64}`,
    `sha256:${HEX64}${HEX64}`,
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    `sha384:${HEX64}${HEX64.slice(32)}`,
    `sha256:${HEX64}\n`,
    `\nsha256:${HEX64}`,
    ` sha256:${HEX64}`,
    `sha256:${HEX64.slice(1)}\0`,
    `sha256:${HEX64.slice(1)}/`,
    `sha256:${'a'.repeat(63)}\u0430`,
    `sha256:${'１'.repeat(64)}`,
    `sha256+b64:${HEX64}`,
    HEX64,
    '',
    'constructor:x',
    '__proto__:',
    `sha256:${'a'.repeat(1e6)}`,
    null,
    undefined,
    256,
    {},
    [`sha256:${HEX64}`],
  ];
  for (const value of hostile) {
    test(`${JSON.stringify(value)?.slice(0, 60)} is refused as E_DIGEST_INVALID, with the place and a short message`, () => {
      assert.equal(isDigest(value), false);
      assert.throws(
        () => parseDigest(value, 'layers[3]'),
        (error: Error & { code?: string }) =>
          error.code === 'E_DIGEST_INVALID' && error.message.startsWith('layers[3]: ') && error.message.length < 200,
      );
    });
  }

  test('the digest of the empty string and of "abc" are the published ones', () => {
    assert.equal(digestOf(Buffer.alloc(0)), 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
    assert.equal(digestOf(Buffer.from('abc')), 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    assert.match(digestOf(Buffer.from('abc'), 'sha512'), /^sha512:ddaf35a193617aba.*a54ca49f$/);
  });

  test('whatever the bytes are, their digest parses and splits into algorithm and hex', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.constantFrom('sha256' as const, 'sha512' as const), (bytes, algorithm) => {
        const digest = digestOf(bytes, algorithm);
        assert.equal(parseDigest(digest), digest);
        assert.equal(`${algorithmOf(digest)}:${hexOf(digest)}`, digest);
      }),
    );
  });

  test('a digest with any one character changed to a non-hex one is refused', () => {
    fc.assert(
      fc.property(fc.integer({ min: 7, max: 70 }), fc.string({ minLength: 1, maxLength: 1 }), (at, char) => {
        fc.pre(!/^[0-9a-f]$/.test(char));
        const good = `sha256:${HEX64}`;
        assert.equal(isDigest(good.slice(0, at) + char + good.slice(at + 1)), false);
      }),
    );
  });
});
