import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDigest } from '../../../src/core/digest.ts';
import { fallbackTag } from '../../../src/core/fallback-tag.ts';
import { isTag } from '../../../src/core/reference.ts';

const HEX64 = '0123456789abcdef'.repeat(4);

test('the fallback tag has all of a sha256 digest, the first half of a sha512 one, and is a tag', () => {
  for (const [digest, tag] of [
    [`sha256:${HEX64}`, `sha256-${HEX64}`],
    [`sha512:${HEX64}${'f'.repeat(64)}`, `sha512-${HEX64}`],
  ] as const) {
    assert.equal(fallbackTag(parseDigest(digest)), tag);
    assert.ok(isTag(tag));
  }
});
