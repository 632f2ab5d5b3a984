import { type Annotations, type Descriptor, foldedField, isStringRecord, parseDescriptor } from './descriptor.ts';
import { BundleError } from './errors.ts';
import { parseStrictJson, shown } from './json.ts';
import { LIMITS } from './limits.ts';
import { isImageManifestType, isIndexType, isSchema1Type } from './media-types.ts';

export type ImageManifest = Readonly<{
  kind: 'manifest';
  mediaType: string;
  config: Descriptor;
  layers: readonly Descriptor[];
  artifactType?: string;
  subject?: Descriptor;
  annotations?: Annotations;
}>;

export type ImageIndex = Readonly<{
  kind: 'index';
  mediaType: string;
  manifests: readonly Descriptor[];
  artifactType?: string;
  subject?: Descriptor;
  annotations?: Annotations;
}>;

export type OciManifest = ImageManifest | ImageIndex;

const FIELDS: ReadonlySet<string> = new Set([
  'schemaVersion',
  'mediaType',
  'config',
  'layers',
  'manifests',
  'artifactType',
  'subject',
  'annotations',
  'fsLayers',
]);

const fail = (what: string, why: string): never => {
  throw new BundleError('E_OCI_MANIFEST', `${what}: ${why}`);
};

function descriptors(value: unknown, what: string, field: string): Descriptor[] {
  if (!Array.isArray(value)) return fail(what, `"${field}" is not a list`);
  if (value.length > LIMITS.descriptors) fail(what, `"${field}" has ${value.length} entries, more than ${LIMITS.descriptors}`);
  return value.map((entry, i) => parseDescriptor(entry, `${what} ${field}[${i}]`));
}

/**
 * Parses the bytes of an OCI or Docker schema 2 manifest or index and refuses anything that two readers could understand differently
 * (CVE-2021-41190): the type must follow from `mediaType`, which must agree with `declaredType`, and the other kind's fields must be absent.
 * @param declaredType the Content-Type or the descriptor's mediaType under which the bytes were found
 * @throws BundleError E_OCI_MANIFEST, E_SCHEMA1, E_LIMIT, E_DIGEST_INVALID
 */
export function parseOciManifest(bytes: Uint8Array, declaredType: string, what: string): OciManifest {
  if (bytes.length > LIMITS.ociManifestBytes) {
    throw new BundleError(
      'E_LIMIT',
      `${what}: an OCI manifest of ${bytes.length} bytes is over the limit of ${LIMITS.ociManifestBytes}`,
    );
  }
  if (isSchema1Type(declaredType)) throw schema1(what);
  const json = parseStrictJson(bytes, what, 'E_OCI_MANIFEST');
  const folded = foldedField(json, FIELDS);
  if (folded !== undefined) fail(what, `the field ${shown(folded)} is in the wrong case: some readers take it and some don't`);
  if (json.schemaVersion === 1) throw schema1(what);
  if (json.schemaVersion !== 2) fail(what, `schemaVersion is ${shown(json.schemaVersion)}, not 2`);
  if (json.mediaType !== undefined && json.mediaType !== declaredType) {
    // distribution-spec "Pulling manifests": the two SHOULD match; taking either one would let the sender choose per reader.
    fail(what, `mediaType ${shown(json.mediaType)} inside differs from ${shown(declaredType)} outside`);
  }
  const has = (field: string): boolean => json[field] !== undefined && json[field] !== null;
  if (has('annotations') && !isStringRecord(json.annotations)) fail(what, 'annotations must map strings to strings');
  const common = {
    mediaType: declaredType,
    ...(typeof json.artifactType === 'string' && json.artifactType !== '' ? { artifactType: json.artifactType } : {}),
    ...(has('subject') ? { subject: parseDescriptor(json.subject, `${what} subject`) } : {}),
    ...(json.annotations ? { annotations: json.annotations as Annotations } : {}),
  };
  if (isIndexType(declaredType)) {
    if (has('layers') || has('config')) fail(what, 'an index that also has "layers" or "config"');
    return { kind: 'index', manifests: descriptors(json.manifests, what, 'manifests'), ...common };
  }
  if (isImageManifestType(declaredType)) {
    if (has('manifests')) fail(what, 'an image manifest that also has "manifests"');
    if (has('fsLayers')) fail(what, 'an image manifest that also has "fsLayers"');
    return {
      kind: 'manifest',
      config: parseDescriptor(json.config, `${what} config`),
      layers: descriptors(json.layers, what, 'layers'),
      ...common,
    };
  }
  return fail(what, `media type ${shown(declaredType)} is not one that this tool carries`);
}

const schema1 = (what: string): BundleError =>
  new BundleError('E_SCHEMA1', `${what} is a Docker image of schema 1, which Docker withdrew in 2020`, {
    hint: 'push it again with a current tool (skopeo copy, docker push), which makes schema 2 of it',
  });

/** What an artifact is: image-spec manifest.md, "artifactType" (the config's type stands in where it is absent). */
export function artifactTypeOf(manifest: OciManifest): string | undefined {
  if (manifest.artifactType !== undefined) return manifest.artifactType;
  return manifest.kind === 'manifest' ? manifest.config.mediaType : undefined;
}

/** The bytes of an index that pull derives: fixed field order and no white space, so that the same selection has the same digest everywhere. */
export function encodeIndex(mediaType: string, manifests: readonly unknown[], annotations?: Annotations): Uint8Array {
  const body = { schemaVersion: 2, mediaType, manifests, ...(annotations ? { annotations } : {}) };
  return Buffer.from(JSON.stringify(body));
}
