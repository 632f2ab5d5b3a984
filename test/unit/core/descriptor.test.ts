import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDescriptor } from '../../../src/core/descriptor.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const DIGEST = `sha256:${'b'.repeat(64)}`;
const good = { mediaType: 'application/octet-stream', digest: DIGEST, size: 5 };

describe('parseDescriptor', () => {
  test('keeps what the tool uses and nothing else', () => {
    const full = {
      ...good,
      annotations: { a: 'b' },
      artifactType: 'x/y',
      urls: ['https://a', 5],
      platform: { os: 'linux', architecture: 'arm', variant: 'v7', 'os.version': '1', 'os.features': ['z'] },
      extra: 1,
      data: 'aGk=',
    };
    assert.deepEqual(parseDescriptor(full, 'x'), {
      ...good,
      annotations: { a: 'b' },
      artifactType: 'x/y',
      urls: ['https://a'],
      platform: { os: 'linux', architecture: 'arm', variant: 'v7', 'os.version': '1' },
    });
    assert.deepEqual(parseDescriptor({ ...good, annotations: null, platform: null, artifactType: '' }, 'x'), good);
  });

  const oci = 'E_OCI_MANIFEST';
  const table: readonly [string, unknown, string][] = [
    ['null', null, oci],
    ['a list', [good], oci],
    ['a string', DIGEST, oci],
    ['no mediaType', { ...good, mediaType: undefined }, oci],
    ['an empty mediaType', { ...good, mediaType: '' }, oci],
    ['a long mediaType', { ...good, mediaType: 'a'.repeat(256) }, oci],
    ['a numeric mediaType', { ...good, mediaType: 5 }, oci],
    ['no digest', { ...good, digest: undefined }, 'E_DIGEST_INVALID'],
    ['a digest that is a path', { ...good, digest: 'sha256:../../x' }, 'E_DIGEST_INVALID'],
    ['no size', { ...good, size: undefined }, oci],
    ['size -1', { ...good, size: -1 }, oci],
    ['size 1.5', { ...good, size: 1.5 }, oci],
    ['size 2^53', { ...good, size: 2 ** 53 }, oci],
    ['size above a tebibyte', { ...good, size: LIMITS.blobBytes + 1 }, oci],
    ['size 1e400', { ...good, size: JSON.parse('1e400') }, oci],
    ['size "5"', { ...good, size: '5' }, oci],
    ['size of a million characters', { ...good, size: '5'.repeat(1e6) }, oci],
    ['size null', { ...good, size: null }, oci],
    ['annotations that are a list', { ...good, annotations: ['a'] }, oci],
    ['an annotation that is a number', { ...good, annotations: { a: 1 } }, oci],
    ['a platform without architecture', { ...good, platform: { os: 'linux' } }, oci],
    ['a platform that is text', { ...good, platform: 'linux/amd64' }, oci],
    ['"Digest" beside "digest", one field to Go', { ...good, Digest: `sha256:${'c'.repeat(64)}` }, oci],
    ['"ſize" beside "size", one field to Go', { ...good, '\u017fize': 1 }, oci],
  ];
  for (const [name, value, code] of table)
    test(`refuses ${name} as ${code}, with the place and a short message`, () => {
      assert.throws(
        () => parseDescriptor(value, 'layers[2]'),
        (error: Error & { code?: string }) =>
          error.code === code && error.message.startsWith('layers[2]') && error.message.length < 400,
      );
    });

  test('speaks with the code of the file that it stands in', () => {
    assert.throws(() => parseDescriptor({ ...good, size: -1 }, 'x', 'E_LAYOUT'), { code: 'E_LAYOUT' });
  });
});
