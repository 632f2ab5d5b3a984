import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Descriptor, DescriptorPlatform } from '../../../src/core/descriptor.ts';
import { digestOf } from '../../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';
import { type ImageIndex, parseOciManifest } from '../../../src/core/oci-manifest.ts';
import { parsePlatform } from '../../../src/core/platform.ts';
import { leavesOf, platformsOf, selectPlatforms } from '../../../src/lock/select-platforms.ts';
import { throwsWith } from '../../support/assert-code.ts';

const child = (name: string, platform?: DescriptorPlatform, more: Partial<Descriptor> = {}): Descriptor => ({
  mediaType: MEDIA_TYPE.ociManifest,
  digest: digestOf(Buffer.from(name)),
  size: name.length,
  ...(platform === undefined ? {} : { platform }),
  ...more,
});
const linux = (architecture: string, variant?: string): DescriptorPlatform => ({
  os: 'linux',
  architecture,
  ...(variant === undefined ? {} : { variant }),
});
const attestation = (name: string, of: Descriptor): Descriptor =>
  child(name, { os: 'unknown', architecture: 'unknown' }, { annotations: { 'vnd.docker.reference.digest': of.digest } });

/** What selectPlatforms makes of an index with these entries. */
function choose(children: readonly object[], asked: readonly string[] | 'all', extra: object = {}) {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: children, ...extra }));
  const index = parseOciManifest(bytes, MEDIA_TYPE.ociIndex, 'index') as ImageIndex;
  const leaves = leavesOf(index, bytes);
  const digest = digestOf(bytes);
  const platforms = asked === 'all' ? 'all' : asked.map(parsePlatform);
  return { digest, leaves, selection: selectPlatforms(index, leaves, digest, platforms, 'docker.io/a/b:1') };
}

const [amd64, arm64, s390x] = [
  child('amd64', linux('amd64')),
  child('arm64', linux('arm64', 'v8')),
  child('s390x', linux('s390x')),
];

describe('what a tag will mean, by the platforms asked for', () => {
  test('all: the original index', () => {
    const { selection, digest } = choose([amd64, arm64], 'all');
    assert.deepEqual([selection.form, selection.targetDigest, selection.children], ['whole', digest, []]);
    assert.deepEqual(
      selection.platforms.map((p) => p.platform),
      ['linux/amd64', 'linux/arm64'],
    );
  });

  test('every one by name: the original index, in whatever order and spelling', () => {
    const { selection, digest } = choose([amd64, arm64], ['linux/aarch64', 'linux/x86_64']);
    assert.deepEqual([selection.form, selection.targetDigest], ['whole', digest]);
  });

  test('one: its manifest', () => {
    const { selection } = choose([amd64, arm64], ['linux/arm64']);
    assert.deepEqual([selection.form, selection.targetDigest], ['single', arm64.digest]);
    assert.deepEqual(selection.platforms, [{ platform: 'linux/arm64', digest: arm64.digest, size: arm64.size }]);
  });

  test('some: a derived index of the entries as they stand, unknown fields and the index annotations kept', () => {
    const odd = { ...arm64, 'x-vendor': { keep: 'me' } };
    const { selection } = choose([amd64, odd, s390x], ['linux/arm64', 'linux/amd64'], { annotations: { note: 'kept' } });
    assert.equal(selection.form, 'derived');
    const bytes = Buffer.from(selection.derived?.bytes ?? []);
    assert.equal(selection.targetDigest, digestOf(bytes));
    assert.equal(
      bytes.toString(),
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.ociIndex,
        manifests: [amd64, odd],
        annotations: { note: 'kept' },
      }),
    );
  });

  test('the order in which they are asked for makes no difference to a derived digest', () => {
    const [one, two] = [
      ['linux/arm64', 'linux/amd64'],
      ['linux/amd64', 'linux/arm64'],
    ].map((asked) => choose([amd64, arm64, s390x], asked).selection.targetDigest);
    assert.equal(one, two);
  });

  test('a platform that is not there is an error with the list of those that are', () => {
    const error = throwsWith(
      () => choose([amd64, arm64], ['linux/riscv64', 'linux/amd64', 'windows/amd64']),
      'E_PLATFORM_MISSING',
      /docker\.io\/a\/b:1 has no linux\/riscv64, windows\/amd64; it has linux\/amd64, linux\/arm64/,
    );
    assert.deepEqual(error.detail.missing, ['linux/riscv64', 'windows/amd64']);
  });

  test('arm variants are platforms of their own', () => {
    const children = [child('v6', linux('arm', 'v6')), child('v7', linux('arm', 'v7'))];
    assert.equal(choose(children, ['linux/arm/v6']).selection.targetDigest, children[0]?.digest);
    assert.equal(choose(children, ['linux/arm']).selection.targetDigest, children[1]?.digest, 'v7 is meant when nothing is said');
  });

  test('two entries of one platform go together (Windows builds)', () => {
    const windows = (version: string) => child(version, { os: 'windows', architecture: 'amd64', 'os.version': version });
    const { selection } = choose([windows('10.0.1'), windows('10.0.2'), amd64], ['windows/amd64']);
    assert.equal(selection.form, 'derived');
    assert.equal(selection.children.length, 2);
  });

  test('attestations go with the platform they describe, and alone make no index of it', () => {
    const children = [amd64, arm64, attestation('a', amd64), attestation('b', arm64)];
    const { selection } = choose(children, ['linux/arm64']);
    assert.deepEqual([selection.form, selection.targetDigest], ['single', arm64.digest]);
    assert.deepEqual(
      selection.children.map((c) => c.digest),
      [arm64.digest, children[3]?.digest],
    );
  });

  test('entries without a platform go along with any choice', () => {
    const plain = child('plain');
    const { selection } = choose([plain, amd64, arm64], ['linux/arm64']);
    assert.equal(selection.form, 'derived');
    assert.deepEqual(
      selection.children.map((c) => c.digest),
      [plain.digest, arm64.digest],
    );
  });

  test('an index in which no entry has a platform is whole for every choice', () => {
    const { selection, digest } = choose([child('a'), child('b')], ['linux/arm64']);
    assert.deepEqual([selection.form, selection.targetDigest], ['whole', digest]);
  });

  test('an empty index is whole', () => {
    const { selection, digest } = choose([], ['linux/arm64']);
    assert.deepEqual([selection.form, selection.targetDigest], ['whole', digest]);
  });

  test('platformsOf leaves attestations out', () => {
    const { leaves } = choose([amd64, attestation('a', amd64)], 'all');
    assert.deepEqual(
      platformsOf(leaves).map((p) => p.platform),
      ['linux/amd64'],
    );
  });
});
