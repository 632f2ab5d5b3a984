import { algorithmOf, type Digest, hexOf, isDigest } from '../core/digest.ts';

/**
 * Where a writable registry keeps things below its root. Bytes once, as in an OCI layout; membership per repository by the presence of a
 * small file, so that every change is one file made, replaced or removed. `_` can't begin a component of a repository name.
 *
 *     oci-layout
 *     index.json                                                      derived: one descriptor per tag
 *     blobs/<algorithm>/<hex>
 *     uploads/<uuid>, <uuid>.json                                     bytes and record of a session
 *     damaged/<algorithm>-<hex>                                       moved away: the bytes were others than the name says
 *     repositories/<name>/_blobs/<algorithm>/<hex>                    empty
 *     repositories/<name>/_manifests/<algorithm>/<hex>                {"mediaType": …}
 *     repositories/<name>/_tags/<tag>                                 the digest
 *     repositories/<name>/_referrers/<algorithm>/<hex>/<algorithm>-<hex>   empty: subject, then referrer
 */
export function diskPaths(root: string) {
  const of = (repository: string): string => `${root}/repositories/${repository}`;
  const under = (directory: string, digest: Digest): string => `${directory}/${algorithmOf(digest)}/${hexOf(digest)}`;
  return {
    root,
    layout: `${root}/oci-layout`,
    index: `${root}/index.json`,
    blobs: `${root}/blobs`,
    uploads: `${root}/uploads`,
    repositories: `${root}/repositories`,
    repository: of,
    upload: (id: string): string => `${root}/uploads/${id}`,
    uploadRecord: (id: string): string => `${root}/uploads/${id}.json`,
    blob: (digest: Digest): string => under(`${root}/blobs`, digest),
    aside: `${root}/damaged`,
    damaged: (digest: Digest): string => `${root}/damaged/${fileNameOf(digest)}`,
    blobLink: (repository: string, digest: Digest): string => under(`${of(repository)}/_blobs`, digest),
    record: (repository: string, digest: Digest): string => under(`${of(repository)}/_manifests`, digest),
    tag: (repository: string, tag: string): string => `${of(repository)}/_tags/${tag}`,
    referrers: (repository: string, subject: Digest): string => under(`${of(repository)}/_referrers`, subject),
    referrer: (repository: string, subject: Digest, digest: Digest): string =>
      `${under(`${of(repository)}/_referrers`, subject)}/${fileNameOf(digest)}`,
  };
}

export type DiskPaths = ReturnType<typeof diskPaths>;

const fileNameOf = (digest: Digest): string => digest.replace(':', '-');

/** The digest that a file of `referrers` is named for; undefined for anything else that lies there. */
export function digestOfFileName(name: string): Digest | undefined {
  const digest = name.replace('-', ':');
  return isDigest(digest) ? digest : undefined;
}
