/** JSON that others wrote: refused with the promised code, or read so that every invariant holds and writing it again says the same. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { parseGenerationName } from '../../src/bundle/layout.ts';
import { encodeStatement, PREDICATE_TYPE, type Predicate, parseStatement, STATEMENT_TYPE } from '../../src/bundle/statement.ts';
import { type Descriptor, parseDescriptor } from '../../src/core/descriptor.ts';
import type { ErrorCode } from '../../src/core/errors.ts';
import { parseStrictJson, prettyJson } from '../../src/core/json.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import { artifactTypeOf, parseOciManifest } from '../../src/core/oci-manifest.ts';
import { isFullReference, parseReference, targetRepository } from '../../src/core/reference.ts';
import { readMirrorsState } from '../../src/k3s/mirrors-state.ts';
import { readState } from '../../src/load/state.ts';
import { parseTarget, targetKey } from '../../src/load/target.ts';
import { encodeLockFile, nameConflict, newestResolution, parseLockFile } from '../../src/lock/lock-file.ts';
import { attempt, fuzz } from './budget.ts';
import { memoryFiles } from './memory-files.ts';
import { changedJson, changedJsonBytes } from './mutate.ts';

/** As JSON carries it: without -0 and undefined. */
const plain = (value: unknown) => JSON.parse(JSON.stringify(value));
/** zod leaves a member of this name out of what it gives, wherever it stands. */
const readPlainly = (bytes: Uint8Array) =>
  plain(JSON.parse(Buffer.from(bytes).toString(), (name, value) => (name === '__proto__' ? undefined : value)));

const sha256 = (letter: string): string => `sha256:${letter.repeat(64)}`;
const sha512 = `sha512:${'e'.repeat(128)}`;

function requireDigest(digest: string): void {
  assert.match(digest, /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/);
}
function requireSize(size: number): void {
  assert.ok(Number.isSafeInteger(size) && size >= 0 && size <= LIMITS.blobBytes, `size ${size}`);
}
function requireDescriptor(found: Descriptor): void {
  requireDigest(found.digest);
  requireSize(found.size);
  assert.equal(typeof found.mediaType, 'string');
  for (const [key, value] of Object.entries(found.annotations ?? {})) assert.equal(typeof value, 'string', key);
  for (const url of found.urls ?? []) assert.equal(typeof url, 'string');
}

// --- strict JSON against a reading of its own: the tree knows where a key occurs twice and how deep it is ---

type Tree = { members: [string, Tree][] } | { items: Tree[] } | { leaf: string };
const key = fc.oneof(
  fc.constantFrom('a', 'b', '', '__proto__', '"', '\\', '\u00e9', '\ud83d\ude00'),
  fc.string({ maxLength: 3 }),
);
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.constantFrom<Tree>({ leaf: '1' }, { leaf: '"}{]["' }, { leaf: 'null' }, { leaf: '"a"' }, { leaf: '"\\\\"' }),
    fc.array(fc.tuple(key, tie('tree')), { maxLength: 4 }).map((members) => ({ members })),
    fc.array(tie('tree'), { maxLength: 4 }).map((items) => ({ items })),
  ),
}));
/** A key as it may be written, the second way with escapes throughout. */
const written = (text: string, escaped: boolean): string =>
  escaped
    ? `"${[...Array(text.length).keys()].map((i) => `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`).join('')}"`
    : JSON.stringify(text);
function textOf(node: Tree, blank: string, escaped: boolean): string {
  if ('leaf' in node) return node.leaf;
  const parts =
    'items' in node
      ? node.items.map((item) => textOf(item, blank, escaped))
      : node.members.map(
          ([name, value], i) => `${written(name, escaped && i % 2 === 1)}${blank}:${blank}${textOf(value, blank, escaped)}`,
        );
  const [open, close] = 'items' in node ? '[]' : '{}';
  return `${open}${blank}${parts.join(`${blank},${blank}`)}${blank}${close}`;
}
function isPlain(node: Tree): boolean {
  if ('leaf' in node) return true;
  if ('items' in node) return node.items.every(isPlain);
  return new Set(node.members.map(([name]) => name)).size === node.members.length && node.members.every(([, v]) => isPlain(v));
}

fuzz(
  'strict JSON is taken exactly when it is an object, no key occurs twice and it is not too deep',
  fc.record({
    node: tree,
    blank: fc.constantFrom('', ' ', '\n\t', '\r\n'),
    escaped: fc.boolean(),
    depth: fc.oneof({ arbitrary: fc.constant(0), weight: 6 }, { arbitrary: fc.integer({ min: 50, max: 80 }), weight: 1 }),
  }),
  async ({ node, blank, escaped, depth }) => {
    const inner = textOf(node, blank, escaped);
    const levels = (n: Tree): number =>
      'leaf' in n ? 0 : 1 + Math.max(0, ...('items' in n ? n.items : n.members.map(([, v]) => v)).map(levels));
    const text = `${'{"a":'.repeat(depth)}${inner}${'}'.repeat(depth)}`;
    const want = isPlain(node) && (depth > 0 || 'members' in node) && depth + levels(node) <= LIMITS.jsonDepth;
    const got = await attempt(() => parseStrictJson(Buffer.from(text), 'x', 'E_LOCK'), 'E_LOCK');
    assert.equal(got !== undefined, want);
    if (got === undefined) return 'refused';
    assert.deepEqual(got[0], JSON.parse(text));
    return 'taken';
  },
);

// --- OCI manifests and indexes ---

const descriptor = (letter: string, more: object = {}) => ({
  mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
  digest: sha256(letter),
  size: 1234,
  ...more,
});
const platform = { architecture: 'arm64', os: 'linux', variant: 'v8', 'os.version': '1' };
const manifests = [
  {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    artifactType: 'application/x',
    config: { ...descriptor('a'), mediaType: MEDIA_TYPE.ociConfig },
    layers: [descriptor('b'), descriptor('c', { urls: ['https://a.lab/x'], annotations: { a: 'b' } })],
    subject: { ...descriptor('d'), mediaType: MEDIA_TYPE.ociManifest },
    annotations: { 'org.opencontainers.image.created': 'x' },
  },
  {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociIndex,
    manifests: [{ ...descriptor('a', { platform }) }, { ...descriptor('b'), digest: sha512, data: 'e30=' }],
    annotations: {},
  },
];
const OCI: ErrorCode[] = ['E_OCI_MANIFEST', 'E_SCHEMA1', 'E_LIMIT', 'E_DIGEST_INVALID'];

fuzz(
  'an OCI manifest or index is refused, or is of one kind and all its descriptors are sound',
  fc.tuple(changedJsonBytes(manifests), fc.constantFrom<string>(MEDIA_TYPE.ociManifest, MEDIA_TYPE.ociIndex)),
  async ([bytes, declared]) => {
    const got = await attempt(() => parseOciManifest(bytes, declared, 'it'), ...OCI);
    if (got === undefined) return 'refused';
    const [found] = got;
    const raw = JSON.parse(bytes.toString()) as Record<string, unknown>;
    assert.equal(found.kind, declared === MEDIA_TYPE.ociIndex ? 'index' : 'manifest');
    assert.ok(raw.mediaType === undefined || raw.mediaType === declared);
    assert.ok(!(Array.isArray(raw.layers) && Array.isArray(raw.manifests)));
    const all = found.kind === 'index' ? found.manifests : [found.config, ...found.layers];
    for (const each of [...all, ...(found.subject ? [found.subject] : [])]) requireDescriptor(each);
    artifactTypeOf(found);
    assert.deepEqual(parseOciManifest(Buffer.from(prettyJson(raw)), declared, 'it'), found);
    return 'taken';
  },
);

fuzz(
  'a descriptor is refused, or reads the same after it was written again',
  changedJson([descriptor('a', { platform, annotations: { a: 'b' }, urls: ['https://x.lab'], artifactType: 'a/b' })]),
  async (value) => {
    const got = await attempt(() => parseDescriptor(value, 'it'), 'E_OCI_MANIFEST', 'E_DIGEST_INVALID');
    if (got === undefined) return 'refused';
    requireDescriptor(got[0]);
    assert.deepEqual(plain(parseDescriptor(plain(got[0]), 'it')), plain(got[0]));
    return 'taken';
  },
);

// --- our own files ---

const item = (ref: string, letter: string) => ({
  kind: 'image',
  ref,
  origin: parseReference(ref).origin,
  digest: sha256(letter),
  mediaType: MEDIA_TYPE.ociIndex,
  size: 500,
  resolvedAt: '2026-11-21T08:00:00Z',
  asked: ['linux/amd64', 'linux/arm64'],
  platforms: [{ platform: 'linux/amd64', digest: sha256('1'), size: 10 }],
  targetDigest: sha256(letter),
  form: 'derived',
});
const locks = [
  {
    lockVersion: 1,
    name: 'lumen',
    lists: [{ source: 'https://a.lab/list.txt', refs: ['redis:7'] }],
    items: [
      item('docker.io/library/redis:7', 'a'),
      { ...item('ghcr.io/a/b:v1', 'b'), asked: 'all', index: 'exact', form: 'whole' },
    ],
  },
];

fuzz('a lock file is refused, or is sound and comes back from its own writing', changedJsonBytes(locks), async (bytes) => {
  const got = await attempt(() => parseLockFile(bytes, 'lumen.lock.json'), 'E_LOCK');
  if (got === undefined) return 'refused';
  const [lock] = got;
  for (const each of lock.items) {
    for (const digest of [each.digest, each.targetDigest, ...each.platforms.map((p) => p.digest)]) requireDigest(digest);
    assert.ok(isFullReference(each.ref) && parseReference(each.ref).origin === each.origin);
    assert.ok(Number.isSafeInteger(each.size));
  }
  assert.ok(Number.isSafeInteger(newestResolution(lock)));
  nameConflict(lock.items);
  const again = encodeLockFile(lock);
  assert.deepEqual(encodeLockFile(parseLockFile(again, 'again')), again);
  assert.equal(parseLockFile(again, 'again').items.length, lock.items.length);
  // Nothing in the text went unread: what was not refused is what it says.
  assert.deepEqual(sorted(readPlainly(bytes)), sorted(JSON.parse(again.toString())));
  return 'taken';
});

const sorted = (lock: { items: { ref: string }[] }) => ({
  ...lock,
  items: [...lock.items].sort((a, b) => (a.ref < b.ref ? -1 : 1)),
});

const INDEX_BYTES = Buffer.from('{}');
const statements = [
  {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'index.json', digest: { sha256: '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a' } }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      name: 'lumen',
      sequence: 1_795_000_000,
      created: '2026-11-21T08:00:00Z',
      expires: '2026-12-21T08:00:00Z',
      platforms: ['linux/amd64'],
      contents: [
        {
          kind: 'image',
          ref: 'docker.io/library/redis:7',
          digest: sha256('a'),
          mediaType: MEDIA_TYPE.ociIndex,
          targetDigest: sha256('b'),
          targetMediaType: MEDIA_TYPE.ociManifest,
          targetSize: 500,
          form: 'single',
          platforms: ['linux/amd64'],
          aliases: ['redis:v7'],
          size: 5000,
        },
      ],
      blobs: [
        { digest: sha256('b'), size: 500 },
        { digest: sha512, size: 1 },
      ],
      files: [
        { name: 'lock.json', digest: sha256('c'), size: 3 },
        { name: 'oci-layout', digest: sha256('d'), size: 30 },
      ],
      tool: 'bundle 1',
    } satisfies Record<keyof Predicate, unknown>,
  },
];

fuzz('a statement is refused, or is sound and comes back from its own writing', changedJsonBytes(statements), async (bytes) => {
  const got = await attempt(() => parseStatement(bytes, 'bundle.json'), 'E_STATEMENT');
  if (got === undefined) return 'refused';
  const { predicate } = got[0];
  for (const { digest, size } of [...predicate.blobs, ...predicate.files]) {
    requireDigest(digest);
    requireSize(size);
  }
  for (const { name } of predicate.files) assert.match(name, /^[a-z0-9][a-z0-9._-]*$/);
  assert.equal(parseGenerationName(String(predicate.sequence)), predicate.sequence);
  assert.ok(!Number.isNaN(Date.parse(predicate.created)));
  for (const content of predicate.contents) {
    // A path at the target, whatever the reference: no step upwards, no empty step.
    const steps = await attempt(() => targetRepository(parseReference(content.ref)).split('/'), 'E_REFERENCE');
    for (const step of steps?.[0] ?? []) assert.ok(step !== '' && step !== '.' && step !== '..', content.ref);
  }
  const again = encodeStatement(INDEX_BYTES, predicate);
  const { predicate: second } = parseStatement(again, 'again');
  assert.deepEqual(encodeStatement(INDEX_BYTES, second), again);
  assert.deepEqual(plain(predicate), readPlainly(bytes).predicate);
  return 'taken';
});

const target = parseTarget('node-1:5000');
const STATE = `/s/${targetKey(target)}/lumen.json`;
const states = [
  {
    stateVersion: 1,
    name: 'lumen',
    target: 'node-1:5000',
    highest: { sequence: 12, statement: sha256('a') },
    loading: { sequence: 12, statement: sha256('a') },
    loaded: { sequence: 11, statement: sha256('b') },
    newestCreated: '2026-11-21T08:00:00Z',
    tags: { 'docker.io/library/redis:7': sha256('c') },
    refused: [sha256('d')],
  },
];

fuzz('the memory of a load is refused, or says what its text says', changedJsonBytes(states), async (bytes) => {
  const got = await attempt(() => readState(memoryFiles(new Map([[STATE, bytes]])), STATE), 'E_ROLLBACK');
  if (got === undefined) return 'refused';
  const state = got[0];
  assert.ok(state !== undefined && state.name === 'lumen' && state.target === 'node-1:5000');
  assert.ok(Number.isSafeInteger(state.highest.sequence) && state.highest.sequence >= (state.loaded?.sequence ?? 1));
  for (const digest of [state.highest.statement, ...Object.values(state.tags)]) requireDigest(digest);
  assert.deepEqual(plain(state), readPlainly(bytes));
  return 'taken';
});

const entries = {
  mirrors: { 'docker.io': { endpoint: ['https://n:5000/v2/docker.io'], rewrite: { a: 'b' } } },
  configs: { 'n:5000': { auth: sha256('a'), tls: { ca_file: '/a', insecure_skip_verify: true } } },
};
const mirrorStates = [
  {
    stateVersion: 1,
    file: '/etc/rancher/k3s/registries.yaml',
    written: { lumen: entries },
    restartOwed: true,
    wayBack: { text: 'absent', backup: '/x', written: {} },
    pending: { text: sha256('b'), written: { lumen: entries } },
  },
];

fuzz('the memory of registries.yaml is refused, or says what its text says', changedJsonBytes(mirrorStates), async (bytes) => {
  const got = await attempt(() => readMirrorsState(memoryFiles(new Map([['/m.json', bytes]])), '/m.json'), 'E_MIRRORS');
  if (got === undefined) return 'refused';
  assert.deepEqual(plain(got[0]), readPlainly(bytes));
  return 'taken';
});
