/** Names that users and registries write: references, digests, platforms, durations, aliases, image lists. */
import assert from 'node:assert/strict';
import { isDigest, parseDigest } from '../../src/core/digest.ts';
import { parsePlatform } from '../../src/core/platform.ts';
import {
  formatReference,
  isFullReference,
  isRepository,
  isTag,
  parseOrigin,
  parseReference,
  targetRepository,
} from '../../src/core/reference.ts';
import { parseEndpoint } from '../../src/k3s/endpoint.ts';
import { formatAlias, parseAlias } from '../../src/manifest/alias.ts';
import { parseDuration } from '../../src/manifest/duration.ts';
import { parseImageList } from '../../src/manifest/image-list.ts';
import { attempt, fuzz } from './budget.ts';
import { changedText } from './mutate.ts';

const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const references = [
  'redis',
  'redis:7',
  `ghcr.io/a/b_c__d-e/f.g:v1.2_3@${DIGEST}`,
  '[fd00::1]:5000/x:1',
  'localhost:5000/a/b',
  '127.0.0.1/x',
  'index.docker.io/library/busybox',
  `quay.io/x/y@sha512:${'ab'.repeat(64)}`,
];
const words = [
  ...['/', ':', '@', '.', '..', '-', '--', '_', '___', '[', ']', '::', '0x7f.1', ':00080', ':65536', '%2f', '\\', ' ', '\n'],
  ...[
    '\u212a',
    '\u017f',
    '\u0000',
    '\ufeff',
    '\u202e',
    '\ud800',
    'A',
    'localhost',
    'docker.io',
    'https://',
    DIGEST,
    `@${DIGEST}`,
  ],
];

/** A part of a path at a registry, at the target or on a disk can't lead out of where it belongs. */
function requireInside(path: string): void {
  for (const step of path.split('/')) assert.ok(!['', '.', '..'].includes(step), path);
  assert.match(path, /^[a-z0-9._/-]+$/);
}

fuzz(
  'a reference is refused, or its full form means the same and leads nowhere else',
  changedText(references, words),
  async (text) => {
    const got = await attempt(() => parseReference(text), 'E_REFERENCE');
    if (got === undefined) return 'refused';
    const [ref] = got;
    const full = formatReference(ref);
    assert.deepEqual(parseReference(full), ref);
    assert.ok(isFullReference(full));
    assert.ok(isRepository(ref.repository) && (ref.tag === undefined || isTag(ref.tag)));
    assert.ok(ref.digest === undefined || isDigest(ref.digest));
    requireInside(ref.repository);
    assert.equal(parseOrigin(ref.origin), ref.origin);
    assert.equal(new URL(`https://${ref.origin}/`).pathname, '/');
    const target = await attempt(() => targetRepository(ref), 'E_REFERENCE');
    if (target !== undefined) requireInside(target[0]);
    return 'taken';
  },
);

fuzz(
  'what is a registry host is one to a URL as well, and names itself',
  changedText(['docker.io', 'GHCR.io:443', '[::1]:5000', '10.0.0.1', 'a-b.c'], words),
  async (text) => {
    const got = await attempt(() => parseOrigin(text), 'E_REFERENCE');
    if (got === undefined) return 'refused';
    assert.equal(parseOrigin(got[0]), got[0]);
    const url = new URL(`ftp://${got[0]}/`);
    assert.ok(url.host === got[0] || `${url.host}:21` === got[0], `${got[0]} dials ${url.host}`);
    return 'taken';
  },
);

fuzz(
  'a digest is refused, or is hexadecimal of its length',
  changedText([DIGEST, `sha512:${'ab'.repeat(64)}`], ['sha256:', 'sha384:', 'A', '\n', '/', '..', 'é'], 2),
  async (text) => {
    const got = await attempt(() => parseDigest(text), 'E_DIGEST_INVALID');
    assert.equal(got !== undefined, /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(text) && !text.endsWith('\n'));
    return got === undefined ? 'refused' : 'taken';
  },
);

fuzz(
  'a platform, a duration, an alias or an endpoint is refused, or comes back from its own writing',
  changedText(
    [
      'linux/arm64',
      'linux/arm/v7',
      'windows/amd64',
      '30d',
      '12h',
      '6w',
      'a/b:v1',
      'app:latest',
      'https://node-1:5000',
      'http://[fd00::1]:80/v2/air',
    ],
    [...words, 'v8', '0', '99999999999999999999', 'e', '?', '#', '@'],
  ),
  async (text) => {
    const platform = await attempt(() => parsePlatform(text), 'E_MANIFEST');
    if (platform !== undefined) assert.equal(parsePlatform(platform[0]), platform[0]);
    const duration = await attempt(() => parseDuration(text), 'E_MANIFEST');
    if (duration !== undefined) assert.ok(Number.isSafeInteger(duration[0]) && duration[0] > 0, `${text}: ${duration[0]}`);
    const alias = await attempt(() => parseAlias(text), 'E_MANIFEST');
    if (alias !== undefined) {
      requireInside(alias[0].repository);
      assert.deepEqual(parseAlias(formatAlias(alias[0])), alias[0]);
    }
    const endpoint = await attempt(() => parseEndpoint(text), 'E_USAGE');
    if (endpoint !== undefined) assert.equal(new URL(endpoint[0].url).pathname, endpoint[0].path);
    return [platform, duration, alias, endpoint].some((found) => found !== undefined) ? 'taken' : 'refused';
  },
);

fuzz(
  'an image list is refused with its places, or holds what its lines say',
  changedText(
    ['redis:7\n# a comment\nghcr.io/a/b:v1 # why\n\n  quay.io/x/y  \n', '\ufeffredis\r\nbusybox\r\n', references.join('\n')],
    [...words, '#', ' #', '\t', '\r', '\r\n', '\u00a0', 'redis'],
  ),
  async (text) => {
    const got = await attempt(() => parseImageList(text, 'list.txt'), 'E_MANIFEST');
    if (got === undefined) return 'refused';
    for (const { ref, text: written, where } of got[0]) {
      assert.deepEqual(parseReference(written), ref);
      const [, line, column] = /^list\.txt:(\d+):(\d+)$/.exec(where) ?? [];
      const found = text.replace(/^\ufeff/, '').split(/\r?\n/)[Number(line) - 1] ?? '';
      assert.ok(found.startsWith(written, Number(column) - 1), where);
    }
    const again = parseImageList(got[0].map(({ ref }) => formatReference(ref)).join('\n'), 'again');
    assert.deepEqual(
      again.map(({ ref }) => ref),
      got[0].map(({ ref }) => ref),
    );
    return 'taken';
  },
);
