/** The data sets of a conformance run: blobs, manifests in the order of their push, tags, and who refers to whom. */
import { randomBytes, randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type Digest, type DigestAlgorithm, digestOf } from '../../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../../src/core/media-types.ts';

type Annotations = Readonly<Record<string, string>>;
type Platform = Readonly<{ architecture: string; os: string }>;
export type Entry = Readonly<{
  mediaType: string;
  digest: Digest;
  size: number;
  urls?: readonly string[];
  data?: string;
  platform?: Platform;
}>;
export type Referrer = Readonly<{
  mediaType: string;
  digest: Digest;
  size: number;
  artifactType: string;
  annotations: Annotations;
}>;

export type DataSet = Readonly<{
  name: string;
  blobs: Map<Digest, Buffer>;
  manifests: Map<Digest, Buffer>;
  /** Children first. */
  order: Digest[];
  tags: Map<string, Digest>;
  referrers: Map<Digest, Referrer[]>;
  /** Tags go along with the push by digest. */
  tagParameters: boolean;
  /** Manifests whose bytes are not what their digest says. */
  wrong: Set<Digest>;
}>;

type Options = Readonly<{
  algorithm?: DigestAlgorithm;
  annotations?: Annotations;
  artifactType?: string;
  /** Content of an artifact's config; absent: an image config. */
  emptyConfig?: boolean;
  layers?: number;
  /** An artifact's; absent: a tar layer. */
  layerType?: string;
  layerBytes?: Buffer;
  uncompressed?: boolean;
  /** Embeds every blob in its descriptor. */
  embed?: boolean;
  /** A field nobody knows in configs, manifests and indexes. */
  extraField?: boolean;
  platform?: Platform;
  platforms?: readonly Platform[];
  subject?: Entry;
  tag?: string | undefined;
}>;

const AMD64: Platform = { architecture: 'amd64', os: 'linux' };
const ARM64: Platform = { architecture: 'arm64', os: 'linux' };
export const EXAMPLE_1 = 'application/vnd.example.conformance.v1';
export const EXAMPLE_2 = 'application/vnd.example.conformance.v2';
const LAYER = 'application/vnd.oci.image.layer.v1.tar';
const FOREIGN = 'application/vnd.oci.image.layer.nondistributable.v1.tar';
const HELLO: Annotations = { 'org.example.conformance': 'hello' };

export const newDataSet = (name: string, tagParameters = false): DataSet => ({
  name,
  blobs: new Map(),
  manifests: new Map(),
  order: [],
  tags: new Map(),
  referrers: new Map(),
  tagParameters,
  wrong: new Set(),
});

const typeOf = ({ artifactType }: Options): object => (artifactType === undefined ? {} : { artifactType });
const extra = ({ extraField }: Options): object =>
  extraField ? { [`org.${randomBytes(4).toString('hex')}`]: randomUUID() } : {};

export function addBlob(set: DataSet, bytes: Buffer, mediaType = 'application/octet-stream', options: Options = {}): Entry {
  const digest = digestOf(bytes, options.algorithm);
  set.blobs.set(digest, bytes);
  return { mediaType, digest, size: bytes.length, ...(options.embed ? { data: bytes.toString('base64') } : {}) };
}

function addLayer(set: DataSet, options: Options): Entry {
  const { layerType, layerBytes, uncompressed } = options;
  if (layerType !== undefined) return addBlob(set, layerBytes ?? randomBytes(2048), layerType, options);
  const text = Buffer.alloc(2048); // as long as a tar of one small file, and no registry looks inside
  text.write(`file of the conformance test, ${randomUUID()}`);
  return addBlob(set, uncompressed ? text : gzipSync(text), uncompressed ? LAYER : `${LAYER}+gzip`, options);
}

/** The same bytes for the same platform, so that two images of a set share a blob. */
function addConfig(set: DataSet, options: Options): Entry {
  if (options.emptyConfig) return addBlob(set, Buffer.from('{}'), MEDIA_TYPE.ociEmpty, options);
  const { architecture, os } = options.platform ?? AMD64;
  const config = {
    author: 'conformance test',
    architecture,
    os,
    config: {},
    rootfs: { type: 'layers', diff_ids: [] },
    ...extra(options),
  };
  return addBlob(set, Buffer.from(JSON.stringify(config)), MEDIA_TYPE.ociConfig, options);
}

/** What any manifest has beside its own lists. */
const common = ({ subject, annotations }: Options): object => ({
  ...(subject === undefined ? {} : { subject }),
  ...(annotations === undefined ? {} : { annotations }),
});

function addManifest(set: DataSet, value: Readonly<{ mediaType: string }>, configType: string, options: Options): Entry {
  const bytes = Buffer.from(JSON.stringify({ ...value, ...extra(options) }));
  const digest = digestOf(bytes, options.algorithm);
  const entry = { mediaType: value.mediaType, digest, size: bytes.length };
  set.manifests.set(digest, bytes);
  set.order.push(digest);
  if (options.tag !== undefined) set.tags.set(options.tag, digest);
  if (options.subject !== undefined) {
    const { annotations = {}, artifactType = configType } = options;
    const listed = set.referrers.get(options.subject.digest) ?? [];
    set.referrers.set(options.subject.digest, [...listed, { ...entry, artifactType, annotations }]);
  }
  return entry;
}

function addImageOf(set: DataSet, config: Entry, layers: readonly Entry[], options: Options): Entry {
  const value = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, ...typeOf(options), config, layers, ...common(options) };
  return addManifest(set, value, config.mediaType, options);
}

function addImage(set: DataSet, options: Options = {}): Entry {
  const layers = Array.from({ length: options.layers ?? 2 }, () => addLayer(set, options));
  return addImageOf(set, addConfig(set, options), layers, options);
}

function addIndexOf(set: DataSet, manifests: readonly Entry[], options: Options = {}): Entry {
  const value = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, ...typeOf(options), manifests, ...common(options) };
  return addManifest(set, value, '', options);
}

function addIndex(set: DataSet, options: Options = {}): Entry {
  const platforms = options.platforms ?? [AMD64, ARM64];
  const children = platforms.map((platform) => ({ ...addImage(set, { ...options, platform, tag: undefined }), platform }));
  return addIndexOf(set, children, options);
}

const ARTIFACT = { artifactType: EXAMPLE_1, emptyConfig: true, layers: 1, layerType: EXAMPLE_1 } as const satisfies Options;
const unique = (): Annotations => ({ ...HELLO, [`org.example.${randomBytes(4).toString('hex')}`]: randomUUID() });
const entryOf = (mediaType: string, bytes: Buffer): Entry => ({ mediaType, digest: digestOf(bytes), size: bytes.length });

const SETS: Readonly<Record<string, (set: DataSet) => void>> = {
  image: (set) => void addImage(set, { tag: 'image' }),
  'image-uncompressed': (set) => void addImage(set, { tag: 'image-uncompressed', uncompressed: true }),
  'large-manifest': (set) => {
    const entries = Array.from({ length: 390 }, (_, i) => [`large-annotation-${i}`, 'A'.repeat(10_000)]);
    addImage(set, { tag: 'large-manifest', annotations: Object.fromEntries(entries) });
  },
  index: (set) => void addIndex(set, { tag: 'index' }),
  'nested-index': (set) => void addIndexOf(set, [addIndex(set), addIndex(set)], { tag: 'index-of-index' }),
  'empty-index': (set) => void addIndexOf(set, [], { tag: 'index' }),
  artifact: (set) => void addImage(set, { ...ARTIFACT, tag: 'artifact' }),
  'artifact-index': (set) => void addIndex(set, { ...ARTIFACT, tag: 'artifact-index' }),
  'artifact-without-layers': (set) =>
    void addImage(set, { ...ARTIFACT, layerType: MEDIA_TYPE.ociEmpty, layerBytes: Buffer.from('{}'), tag: 'without-layers' }),
  'artifacts-with-subject': (set) => {
    const subject = addImage(set, { tag: 'image' });
    addImage(set, { subject });
    addImage(set, { ...ARTIFACT, subject, annotations: unique(), tag: 'tagged-artifact1' });
    const octets = { artifactType: EXAMPLE_2, layerType: 'application/octet-stream' };
    addImage(set, { ...ARTIFACT, ...octets, subject, annotations: unique(), tag: 'tagged-artifact2' });
  },
  'index-with-subject': (set) => {
    const subject = addIndex(set, { tag: 'index' });
    addIndex(set, { ...ARTIFACT, subject, annotations: unique(), tag: 'tagged-artifact' });
  },
  'missing-subject': (set) => {
    const subject = { ...entryOf(MEDIA_TYPE.ociManifest, randomBytes(16)), size: 123 };
    addImage(set, { ...ARTIFACT, subject, annotations: unique(), tag: 'tagged-artifact' });
  },
  'data-field': (set) => void addImage(set, { embed: true, tag: 'data-field' }),
  'non-distributable-layers': (set) => {
    const foreign = [`${FOREIGN}+gzip`, FOREIGN].map((mediaType) => {
      const entry = { ...entryOf(mediaType, randomBytes(256)), size: 123_456 };
      return { ...entry, urls: [`https://store.example.com/blobs/${entry.digest}`] };
    });
    addImageOf(set, addConfig(set, {}), [...foreign, addLayer(set, {})], { tag: 'non-distributable-image' });
  },
  'custom-fields': (set) => void addIndex(set, { extraField: true, tag: 'custom-fields' }),
  'no-layers': (set) => void addImage(set, { layers: 0, tag: 'no-layers' }),
};

/** An image without one of its layers, an index without one of its children. */
function sparse(set: DataSet): void {
  const layer = addLayer(set, {});
  const gone = addLayer(set, {});
  addImageOf(set, addConfig(set, {}), [layer, gone], { tag: 'sparse-image' });
  set.blobs.delete(gone.digest);
  const absent = { ...entryOf(MEDIA_TYPE.ociManifest, randomBytes(1024)), platform: ARM64 };
  addIndexOf(set, [{ ...addImage(set), platform: AMD64 }, absent], { tag: 'sparse-index' });
}

/** Each manifest with a tag by parameter, the index at the end with two. */
function tagged(set: DataSet, algorithm: DigestAlgorithm): void {
  addIndex(set, { algorithm, tag: set.name });
  for (const [i, digest] of set.order.entries()) set.tags.set(`${set.name}-${i}`, digest);
}

function wrong(set: DataSet): void {
  const { digest } = addImage(set);
  set.wrong.add(digest);
  set.manifests.set(digest, Buffer.concat([set.manifests.get(digest) ?? Buffer.of(), Buffer.from('  ')]));
}

/** An image that nobody pushes whole. */
export function invalidImage(): DataSet {
  const set = newDataSet('invalid-digest-format');
  addImage(set, { layers: 1 });
  return set;
}

export type DataOptions = Readonly<{ sparse: boolean; tagParameters: boolean }>;

/** All data sets, new bytes each time, in the order of the run. */
export function dataSets(options: DataOptions): DataSet[] {
  const made = (name: string, fill: (set: DataSet) => void, tagParameters = false): DataSet => {
    const set = newDataSet(name, tagParameters);
    fill(set);
    return set;
  };
  return [
    ...Object.entries(SETS).map(([name, fill]) => made(name, fill)),
    ...(options.sparse ? [made('sparse', sparse)] : []),
    made('sha512', (set) => void addIndex(set, { algorithm: 'sha512' })),
    ...(options.tagParameters
      ? (['sha256', 'sha512'] as const).map((name) => made(`tag-param-${name}`, (set) => tagged(set, name), true))
      : []),
    made('bad-digest-image', wrong),
  ];
}
