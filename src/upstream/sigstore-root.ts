import type { TrustMaterial } from '@sigstore/verify';
import { type Digest, digestOf } from '../core/digest.ts';
import { BundleError, isBundleError, isSystemError } from '../core/errors.ts';
import { type JsonObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { printable } from '../core/printable.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { checkRootShape, rootRefused } from './sigstore-root-shape.ts';
import { embeddedTrustedRoot, fetchTrustedRoot, publicRepository, type TufRepository } from './tuf-refresh.ts';

/** Whom Sigstore's users trust: certificate authorities, logs, timestamp authorities. `material` is shared by every image that is verified by it. */
export type SigstoreRoot = Readonly<{ bytes: Uint8Array; digest: Digest; json: JsonObject; material: TrustMaterial }>;

/**
 * Reads a trusted root (`trusted_root.json`).
 * @throws BundleError E_TRUST_FILE
 */
export async function parseSigstoreRoot(bytes: Uint8Array, what: string): Promise<SigstoreRoot> {
  if (bytes.length > LIMITS.trustedRootBytes)
    throw rootRefused(what, `has ${bytes.length} bytes, more than the limit of ${LIMITS.trustedRootBytes}`);
  const json = parseStrictJson(bytes, what, 'E_TRUST_FILE');
  checkRootShape(json, what);
  const [{ TrustedRoot }, { toTrustMaterial }] = await Promise.all([
    import('@sigstore/protobuf-specs'),
    import('@sigstore/verify'),
  ]);
  try {
    return { bytes, digest: digestOf(bytes), json, material: toTrustMaterial(TrustedRoot.fromJSON(json), noKeys) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw rootRefused(what, `holds a key or certificate that can't be read: ${why}`, error);
  }
}

const noKeys = (): never => {
  throw new Error('a signature by a key, where one by a certificate is asked for');
};

export type CurrentRoot = Readonly<{
  root: SigstoreRoot;
  /** `refreshed`: just now; `cached`: by an earlier run; `embedded`: built into this program. */
  source: 'refreshed' | 'cached' | 'embedded';
  /** Milliseconds since it was known to be the current one. */
  age: number;
  /** Why it is not a fresh one, and how old it is. */
  warning?: string;
}>;

export type RootRequest = Readonly<{
  fs: FileSystem;
  /** Where roots and TUF's metadata are kept; undefined: nowhere. */
  cacheDirectory: string | undefined;
  /** Milliseconds since 1970. */
  now: number;
  /** Default: the public Sigstore's. */
  repository?: TufRepository;
  retries?: number;
}>;

const DAY_MS = 86_400_000;
/** When the version of `@sigstore/tuf` that is built in was published. */
export const EMBEDDED_SINCE = Date.parse('2026-11-05T00:00:00Z');

/**
 * The trusted root of today: a cached one of less than a day, else a fresh one by TUF, else the last cached, else the one that is built in.
 * @throws BundleError E_NETWORK for a repository of one's own that can't be reached the first time; E_TRUST_FILE when what it gives is no root
 */
export async function currentSigstoreRoot(request: RootRequest): Promise<CurrentRoot> {
  const { fs, cacheDirectory, now } = request;
  const repository = request.repository ?? (await publicRepository());
  const path = cacheDirectory === undefined ? undefined : `${cacheDirectory}/${encodeURIComponent(repository.url)}.json`;
  const cached = path === undefined ? undefined : await readCached(fs, path, now);
  if (cached !== undefined && cached.age >= 0 && cached.age < DAY_MS) return cached;
  let bytes: Uint8Array;
  try {
    bytes = await fetchTrustedRoot(repository, cacheDirectory, request.retries);
  } catch (error) {
    return fallback(repository, cached, now, error);
  }
  const root = await parseSigstoreRoot(bytes, `the trusted root of ${repository.url}`);
  if (path !== undefined) await keep(fs, path, bytes);
  return { root, source: 'refreshed', age: 0 };
}

/** A file that can't be read is as good as none: it is only a cache. */
async function readCached(fs: FileSystem, path: string, now: number): Promise<CurrentRoot | undefined> {
  try {
    const stat = await fs.stat(path);
    if (stat === undefined) return undefined;
    const root = await parseSigstoreRoot(await fs.readFile(path, LIMITS.trustedRootBytes), path);
    return { root, source: 'cached', age: now - stat.mtimeMs };
  } catch (error) {
    if (isBundleError(error) || isSystemError(error)) return undefined;
    throw error;
  }
}

/** A cache that can't be written (a full disk, a read-only home) is no reason to fail. */
async function keep(fs: FileSystem, path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFileDurable(fs, path, bytes);
  } catch (error) {
    if (!isBundleError(error)) throw error;
  }
}

async function fallback(
  repository: TufRepository,
  cached: CurrentRoot | undefined,
  now: number,
  cause: unknown,
): Promise<CurrentRoot> {
  const why = printable(reasonOf(cause), 300);
  const failed = `the trusted root of Sigstore could not be refreshed from ${repository.url} (${why})`;
  if (cached !== undefined) return { ...cached, warning: `${failed}: the one of ${days(cached.age)} is used` };
  const bytes = await embeddedTrustedRoot(repository);
  if (bytes === undefined)
    throw new BundleError('E_NETWORK', failed, {
      cause,
      origin: 'source',
      hint: 'give the root itself: trustedRoot: trusted_root.json',
    });
  const age = now - EMBEDDED_SINCE;
  const root = await parseSigstoreRoot(bytes, 'the trusted root that is built in');
  return { root, source: 'embedded', age, warning: `${failed}: the one that is built in, of ${days(age)}, is used` };
}

const days = (ms: number): string => {
  const count = Math.max(0, Math.floor(ms / DAY_MS));
  return count === 0 ? 'today' : count === 1 ? '1 day ago' : `${count} days ago`;
};

/** What the library says, down to what the network said. */
function reasonOf(error: unknown): string {
  const texts: string[] = [];
  for (let at = error; at instanceof Error && texts.length < 4; at = at.cause) texts.push(at.message);
  return texts.length === 0 ? String(error) : texts.join(': ');
}
