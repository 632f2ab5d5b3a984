import { type Digest, parseDigest } from './digest.ts';
import { BundleError, type ErrorCode } from './errors.ts';
import { isObject, type JsonObject, shown } from './json.ts';
import { LIMITS } from './limits.ts';

export type Annotations = Readonly<Record<string, string>>;

export type DescriptorPlatform = Readonly<{ architecture: string; os: string; variant?: string; 'os.version'?: string }>;

/** image-spec v1.1 descriptor.md. Unknown fields are kept in the bytes they came from, not here. */
export type Descriptor = Readonly<{
  mediaType: string;
  digest: Digest;
  /** bytes */
  size: number;
  annotations?: Annotations;
  artifactType?: string;
  platform?: DescriptorPlatform;
  urls?: readonly string[];
}>;

/**
 * Go reads JSON field names without regard to case (and takes U+017F for "s", U+212A for "k"), so `Digest` beside `digest` is one field there and
 * none here: the CVE-2021-41190 family. undefined when there is none.
 */
export function foldedField(value: JsonObject, fields: ReadonlySet<string>): string | undefined {
  const folded = new Set([...fields].map((field) => field.toLowerCase()));
  return Object.keys(value).find((key) => !fields.has(key) && folded.has(key.toUpperCase().toLowerCase()));
}

const FIELDS: ReadonlySet<string> = new Set([
  'mediaType',
  'digest',
  'size',
  'urls',
  'annotations',
  'data',
  'artifactType',
  'platform',
]);

export const isStringRecord = (value: unknown): value is Record<string, string> =>
  isObject(value) && Object.values(value).every((entry) => typeof entry === 'string');

function parsePlatform(value: unknown, where: string, code: ErrorCode): DescriptorPlatform {
  if (!isObject(value) || typeof value.architecture !== 'string' || typeof value.os !== 'string') {
    throw new BundleError(code, `${where}: platform needs "architecture" and "os" as strings`);
  }
  const variant = typeof value.variant === 'string' && value.variant !== '' ? { variant: value.variant } : {};
  const version = typeof value['os.version'] === 'string' ? { 'os.version': value['os.version'] } : {};
  return { architecture: value.architecture, os: value.os, ...variant, ...version };
}

/** A size in bytes that JSON carries exactly. @throws BundleError `code` */
export function parseSize(value: unknown, where: string, code: ErrorCode): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= LIMITS.blobBytes) return value;
  throw new BundleError(code, `${where}: size ${shown(value)} is not a whole number of bytes between 0 and ${LIMITS.blobBytes}`);
}

/** @throws BundleError `code` (default E_OCI_MANIFEST), or E_DIGEST_INVALID */
export function parseDescriptor(value: unknown, where: string, code: ErrorCode = 'E_OCI_MANIFEST'): Descriptor {
  if (!isObject(value)) throw new BundleError(code, `${where} is not an object`);
  const v: JsonObject = value;
  const folded = foldedField(v, FIELDS);
  if (folded !== undefined) throw new BundleError(code, `${where}: the field ${shown(folded)} is in the wrong case`);
  if (typeof v.mediaType !== 'string' || v.mediaType === '' || v.mediaType.length > 255) {
    throw new BundleError(code, `${where}: mediaType is missing or not a string`);
  }
  if (v.annotations !== undefined && v.annotations !== null && !isStringRecord(v.annotations)) {
    throw new BundleError(code, `${where}: annotations must map strings to strings`);
  }
  return {
    mediaType: v.mediaType,
    digest: parseDigest(v.digest, where),
    size: parseSize(v.size, where, code),
    ...(v.annotations ? { annotations: v.annotations as Annotations } : {}),
    ...(typeof v.artifactType === 'string' && v.artifactType !== '' ? { artifactType: v.artifactType } : {}),
    ...(v.platform ? { platform: parsePlatform(v.platform, where, code) } : {}),
    ...(Array.isArray(v.urls) ? { urls: v.urls.filter((url): url is string => typeof url === 'string') } : {}),
  };
}
