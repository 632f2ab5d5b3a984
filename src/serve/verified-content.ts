import { algorithmOf, type Digest, digestOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { verified } from '../core/verified.ts';
import type { RegistryContent, StoredBlob } from './content.ts';

/**
 * The same content, but nothing whole that does not hash right leaves it: a blob is hashed while it is sent and its end is withheld until the
 * hash is right; a part of a blob is sent only after the whole blob has been hashed once; manifests are hashed each time. Every client checks
 * digests itself; this is for the one that does not.
 */
export function verifiedContent(content: RegistryContent): RegistryContent {
  const checks = new Map<Digest, Promise<void>>();
  const checkOnce = (digest: Digest, blob: StoredBlob): Promise<void> => {
    const check = checks.get(digest) ?? drain(withheld(digest, blob));
    checks.set(digest, check);
    check.catch(() => checks.delete(digest)); // a read error may pass; wrong bytes are found again
    return check;
  };
  return {
    repositories: () => content.repositories(),
    tags: (repository) => content.tags(repository),
    referrers: (repository, digest) => content.referrers(repository, digest),
    async manifest(repository, reference) {
      const found = await content.manifest(repository, reference);
      if (found === undefined || digestOf(found.bytes, algorithmOf(found.digest)) === found.digest) return found;
      throw new BundleError('E_DIGEST', `manifest ${found.digest} of ${repository} has other bytes`, { origin: 'bundle' });
    },
    async blob(repository, digest) {
      const blob = await content.blob(repository, digest);
      if (blob === undefined) return undefined;
      const { size } = blob;
      return {
        size,
        async *open(start = 0, end = size) {
          if (start === 0 && end === size) return yield* withheld(digest, blob);
          await checkOnce(digest, blob);
          yield* blob.open(start, end);
        },
      };
    },
  };
}

/** All but the last chunk may be out when the bytes turn out wrong; the last one is never. @throws BundleError E_DIGEST, E_SIZE */
const withheld = (digest: Digest, blob: StoredBlob): AsyncIterable<Uint8Array> =>
  verified(blob.open(), { digest, size: blob.size }, `blob ${digest}`, 'bundle');

async function drain(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of chunks);
}
