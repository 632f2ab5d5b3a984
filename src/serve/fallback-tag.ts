import type { Descriptor } from '../core/descriptor.ts';
import type { Digest } from '../core/digest.ts';
import { fallbackTag } from '../core/fallback-tag.ts';
import { byteOrder } from '../core/json.ts';
import type { RegistryContent, StoredManifest } from './content.ts';
import { descriptorOf, parsedManifest } from './referrer.ts';

/**
 * The referrers of `subject`, by digest: those that the content knows from their own `subject`, and those that a client of the older scheme
 * wrote into an index under the fallback tag (distribution-spec "Enabling the Referrers API" wants both in one list).
 */
export async function allReferrers(
  content: RegistryContent,
  repository: string,
  subject: Digest,
): Promise<readonly Descriptor[]> {
  const known = await content.referrers(repository, subject);
  const tagged = await content.manifest(repository, fallbackTag(subject));
  const noted = tagged === undefined || tagged.digest === subject ? [] : entriesOf(tagged);
  if (noted.length === 0) return known;
  const found = new Map(known.map((descriptor) => [descriptor.digest, descriptor]));
  for (const entry of noted) {
    const described = found.get(entry.digest) ?? (await describe(content, repository, subject, entry));
    if (described !== undefined) found.set(entry.digest, described);
  }
  return [...found.values()].sort((a, b) => byteOrder(a.digest, b.digest));
}

/** What bears such a tag and is no index is no list. */
function entriesOf(tagged: StoredManifest): readonly Descriptor[] {
  const index = parsedManifest(tagged);
  return index?.kind === 'index' ? index.manifests : [];
}

/**
 * The entry with what its manifest says of itself; the client's own words fill the gaps. undefined when the manifest has gone (the list was
 * written once, deletes do not touch it) or names another subject.
 */
async function describe(
  content: RegistryContent,
  repository: string,
  subject: Digest,
  entry: Descriptor,
): Promise<Descriptor | undefined> {
  const stored = await content.manifest(repository, entry.digest);
  if (stored === undefined) return undefined;
  const manifest = parsedManifest(stored);
  if (manifest === undefined || (manifest.subject !== undefined && manifest.subject.digest !== subject)) return undefined;
  const { artifactType, annotations } = entry;
  return {
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(annotations === undefined ? {} : { annotations }),
    ...descriptorOf(stored, manifest),
  };
}
