import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isSystemError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

const TARGET = 'trusted_root.json';

export type TufRepository = Readonly<{
  url: string;
  /** The first root to believe, as a file; for the public repository it is built in. */
  initialRoot?: string;
}>;

/** The public Sigstore's. */
export async function publicRepository(): Promise<TufRepository> {
  const { DEFAULT_MIRROR_URL } = await import('@sigstore/tuf');
  return { url: DEFAULT_MIRROR_URL };
}

/**
 * Fetches the trusted root by TUF, with everything that TUF checks: signatures, versions that never fall, expiry. The library keeps its metadata in
 * `cacheDirectory` by itself, past the FileSystem port. Where nothing can be kept (no home, a read-only disk) it works in a temporary folder, without
 * remembering versions.
 * @param retries after a failure of the network, default 1
 * @throws what the library throws: TUFError, TypeError of fetch
 */
export async function fetchTrustedRoot(
  repository: TufRepository,
  cacheDirectory: string | undefined,
  retries = 1,
): Promise<Uint8Array> {
  if (cacheDirectory !== undefined) {
    try {
      return await fetchInto(repository, cacheDirectory, retries);
    } catch (error) {
      if (!isSystemError(error)) throw error;
    }
  }
  const temporary = await mkdtemp(join(tmpdir(), 'bundle-tuf-'));
  try {
    return await fetchInto(repository, temporary, retries);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function fetchInto({ url, initialRoot }: TufRepository, cachePath: string, retries: number): Promise<Uint8Array> {
  const { initTUF } = await import('@sigstore/tuf');
  const forceInit = await rootIsCutOff(url, cachePath);
  const client = await initTUF({
    mirrorURL: url.replace(/\/+$/, ''),
    cachePath,
    forceInit,
    ...(initialRoot === undefined ? {} : { rootPath: initialRoot }),
    retry: { retries },
    timeout: LIMITS.tufRequestMs,
  });
  return Buffer.from(await client.getTarget(TARGET));
}

/**
 * The library writes its files in place. One that a crash cut off would stop every refresh from then on, so it starts again from the first root;
 * the versions of the other roles stay remembered.
 */
async function rootIsCutOff(url: string, cachePath: string): Promise<boolean> {
  const { host, pathname } = new URL(url);
  const folder = encodeURIComponent(host + pathname.replace(/\/+$/, ''));
  try {
    JSON.parse(await readFile(join(cachePath, folder, 'root.json'), 'utf8'));
    return false;
  } catch (error) {
    return error instanceof SyntaxError;
  }
}

/** The trusted root that was current when this version of `@sigstore/tuf` was made; undefined for a repository that it does not know. */
export async function embeddedTrustedRoot({ url }: TufRepository): Promise<Uint8Array | undefined> {
  const { default: seeds } = await import('@sigstore/tuf/seeds.json', { with: { type: 'json' } });
  const seed = Object.entries(seeds).find(([name]) => name === url)?.[1];
  return seed === undefined ? undefined : Buffer.from(seed.targets[TARGET], 'base64');
}
