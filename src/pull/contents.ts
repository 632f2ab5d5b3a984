import type { NamedBytes } from '../bundle/generation.ts';
import { INDEX, LOCK_FILE, OCI_LAYOUT, OCI_LAYOUT_BYTES, STATEMENT, TRUSTED_ROOT } from '../bundle/layout.ts';
import { type Content, encodeStatement, type Predicate, parseStatement } from '../bundle/statement.ts';
import { type Digest, digestOf } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { byteOrder, prettyJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';
import { formatReference, parseReference } from '../core/reference.ts';
import { encodeLockFile, type LockFile } from '../lock/lock-file.ts';
import type { Manifest } from '../manifest/manifest.ts';
import { sortedEvidence } from './evidence.ts';
import { descriptorsOf } from './fetch.ts';
import type { PlannedItem } from './plan.ts';

/** The name that tools show for a root: with its tag where it has one (a tag with a digest behind it is no name to them), else by digest. */
export function displayName(refText: string): string {
  const { digest, ...rest } = parseReference(refText);
  return formatReference(rest.tag === undefined ? { ...rest, ...(digest === undefined ? {} : { digest }) } : rest);
}

/** index.json: one descriptor per reference, on the manifest that the tag will mean at the target (image-spec image-layout.md). */
export function encodeLayoutIndex(items: readonly PlannedItem[]): Uint8Array {
  const roots = items
    .map(({ item, target }) => ({ name: displayName(item.ref), target }))
    .sort((a, b) => byteOrder(a.name, b.name))
    .map(({ name, target: { mediaType, digest, size } }) => ({ mediaType, digest, size, annotations: namedAs(name) }));
  // `a:1` and `a:1@sha256:…` are two references with one name.
  const distinct = [...new Map([...roots, ...evidenceRoots(items)].map((root) => [JSON.stringify(root), root])).values()];
  return Buffer.from(prettyJson({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: distinct }));
}

const namedAs = (name: string) => ({ 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name });

/** cosign's tags by their names; referrers without one: oras finds them by their subject when they are roots. */
function evidenceRoots(items: readonly PlannedItem[]) {
  const roots = items.flatMap(({ item, evidence }) => {
    const { origin, repository } = parseReference(item.ref);
    return evidence.map(({ evidence: { tag, mediaType, digest, size, superseded } }) => {
      const name = tag === undefined || superseded ? undefined : formatReference({ origin, repository, tag });
      return { mediaType, digest, size, ...(name === undefined ? {} : { annotations: namedAs(name) }) };
    });
  });
  return roots.sort((a, b) => byteOrder(JSON.stringify(a), JSON.stringify(b)));
}

export function contentOf(planned: PlannedItem): Content {
  const { entry, item, target, evidence, verdict } = planned;
  const aliases = entry.aliases.map((a) => `${a.repository}:${a.tag}`).sort(byteOrder);
  return {
    kind: 'image',
    ref: item.ref,
    digest: item.digest,
    mediaType: item.mediaType,
    targetDigest: item.targetDigest,
    targetMediaType: target.mediaType,
    targetSize: target.size,
    form: item.form,
    platforms: [...new Set(item.platforms.map((p) => p.platform))].sort(byteOrder),
    ...(aliases.length === 0 ? {} : { aliases }),
    size: descriptorsOf(planned).reduce((sum, d) => sum + d.size, 0),
    ...(evidence.length === 0 ? {} : { evidence: sortedEvidence(evidence).map((e) => e.evidence) }),
    ...(verdict === undefined ? {} : { verdict }),
  };
}

/** Every digest that the items need, each once. */
export function blobsOf(items: readonly PlannedItem[]): { digest: Digest; size: number }[] {
  const sizes = new Map<Digest, number>();
  for (const planned of items) for (const d of descriptorsOf(planned)) sizes.set(d.digest, d.size);
  return [...sizes].map(([digest, size]) => ({ digest, size })).sort((a, b) => byteOrder(a.digest, b.digest));
}

export type GenerationDraft = Readonly<{
  sequence: number;
  predicate: Predicate;
  statementBytes: Uint8Array;
  files: readonly NamedBytes[];
}>;

export type DraftInput = Readonly<{
  manifest: Manifest;
  lock: LockFile;
  items: readonly PlannedItem[];
  sequence: number;
  /** `2026-11-21T08:00:00Z` */
  created: string;
  tool: string;
  /** The Sigstore root that upstream was verified with; default: one that trusts nobody. */
  trustedRoot?: Uint8Array | undefined;
}>;

/** Names no log and no authority. cosign 2.6.3 to 3.0.3 want a root even to check a signature by a key: this one keeps them off the network. */
const EMPTY_ROOT: Uint8Array = Buffer.from(
  `${JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1' })}\n`,
);

/**
 * The files of a generation but its signatures. The same lock, items and sequence give the same bytes.
 * @throws BundleError E_LIMIT, E_STATEMENT when nobody could read it
 */
export function draftGeneration(input: DraftInput): GenerationDraft {
  const { manifest, lock, items, sequence, created } = input;
  const indexBytes = encodeLayoutIndex(items);
  const lockBytes = encodeLockFile(lock);
  const rootBytes = input.trustedRoot ?? EMPTY_ROOT;
  const file = (name: string, bytes: Uint8Array) => ({ name, digest: digestOf(bytes), size: bytes.length });
  const expires =
    manifest.expiresMs === undefined
      ? {}
      : { expires: `${new Date(Date.parse(created) + manifest.expiresMs).toISOString().slice(0, 19)}Z` };
  const predicate: Predicate = {
    name: manifest.name,
    sequence,
    created,
    ...expires,
    platforms: manifest.platforms === 'all' ? ['all'] : [...manifest.platforms].sort(byteOrder),
    contents: items.map(contentOf).sort((a, b) => byteOrder(a.ref, b.ref)),
    blobs: blobsOf(items),
    files: [file(LOCK_FILE, lockBytes), file(OCI_LAYOUT, OCI_LAYOUT_BYTES), file(TRUSTED_ROOT, rootBytes)],
    tool: input.tool,
  };
  const statementBytes = encodeStatement(indexBytes, predicate);
  const files = [
    { name: INDEX, bytes: indexBytes },
    { name: STATEMENT, bytes: statementBytes },
    { name: LOCK_FILE, bytes: lockBytes },
    { name: TRUSTED_ROOT, bytes: rootBytes },
  ];
  requireReadable(sequence, files);
  return { sequence, predicate, statementBytes, files };
}

const FILE_BYTES: ReadonlyMap<string, number> = new Map([
  [INDEX, LIMITS.layoutIndexBytes],
  [STATEMENT, LIMITS.statementBytes],
  [LOCK_FILE, LIMITS.lockFileBytes],
  [TRUSTED_ROOT, LIMITS.trustedRootBytes],
]);

/** A committed generation that is beyond a reader's limits would stop every later command on this bundle, pull too. */
function requireReadable(sequence: number, files: readonly NamedBytes[]): void {
  const hint = 'carry fewer images, or less evidence of them ("evidence: none"), in one bundle';
  for (const { name, bytes } of files) {
    const most = FILE_BYTES.get(name) ?? Number.POSITIVE_INFINITY;
    if (bytes.length > most)
      throw new BundleError('E_LIMIT', `${name} of generation ${sequence}: ${bytes.length} bytes, more than ${most}`, { hint });
    if (name !== STATEMENT) continue;
    try {
      parseStatement(bytes, `${STATEMENT} of generation ${sequence}, which is not committed,`);
    } catch (error) {
      if (!isBundleError(error)) throw error;
      throw new BundleError(error.code, error.message, { hint, origin: 'host', cause: error });
    }
  }
}
