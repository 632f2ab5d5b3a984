import { type BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { formatReference, parseReference, type Reference, targetRepository } from '../core/reference.ts';
import { nameConflicts } from './entries.ts';
import { listName } from './list-source.ts';
import type { ImageEntry, Manifest } from './manifest.ts';
import { type Problem, problemsError } from './problems.ts';

/** One line of a list. */
export type ListedImage = Readonly<{ ref: Reference; text: string; where: string }>;

/**
 * One reference a line; blank lines and what follows a `#` are comments (`k3s-images.txt` is of this form).
 * @throws BundleError E_MANIFEST with every bad line as `file:line:column`
 */
export function parseImageList(text: string, fileName: string): ListedImage[] {
  const bytes = Buffer.byteLength(text);
  const whole = (message: string): BundleError => problemsError([{ where: `${fileName}:1:1`, path: '', message }]);
  if (bytes > LIMITS.imageListBytes) throw whole(`is larger than the limit of ${LIMITS.imageListBytes} bytes`);
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  if (lines.length > LIMITS.imageListLines) throw whole(`has more than ${LIMITS.imageListLines} lines`);
  const problems: Problem[] = [];
  const images: ListedImage[] = [];
  for (const [i, line] of lines.entries()) {
    const written = withoutBlanks(withoutComment(line));
    if (written === '') continue;
    const where = `${fileName}:${i + 1}:${line.indexOf(written) + 1}`;
    const ref = readReference(written);
    if (typeof ref === 'string') problems.push({ where, path: '', message: ref });
    else images.push({ ref, text: written, where });
  }
  if (problems.length > 0) throw problemsError(problems);
  if (images.length === 0) throw whole('names no image');
  return images;
}

/** A comment with what some readers take for a line break in it stays, and is refused as a reference. */
function withoutComment(line: string): string {
  const at = line.search(/(?:^|[ \t])#/);
  return at === -1 || /[\r\u2028\u2029]/.test(line.slice(at)) ? line : line.slice(0, at);
}

const isBlank = (character: string | undefined): boolean => character === ' ' || character === '\t';

/**
 * Only ASCII blanks: String.trim would also take a no-break space away, and with it the sign that something is odd. Not by a regexp: `[ \t]+$`
 * looks at a run of n blanks n²/2 times.
 */
function withoutBlanks(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && isBlank(text[start])) start++;
  while (end > start && isBlank(text[end - 1])) end--;
  return text.slice(start, end);
}

/** The reference, or what is wrong with it. */
function readReference(text: string): Reference | string {
  try {
    const ref = parseReference(text);
    targetRepository(ref);
    return ref;
  } catch (error) {
    if (!isBundleError(error)) throw error;
    return error.hint === undefined ? error.message : `${error.message} (${error.hint})`;
  }
}

/**
 * Reads the lists that the manifest names and adds their images, with the manifest's defaults, after its own. An image that is also under
 * `images` keeps the settings it has there; a line without a digest yields to an entry that pins the same tag.
 * @param read gives the text of a path or URL of `manifest.imageLists`; it sets the limit on bytes
 * @throws BundleError E_MANIFEST, E_ALIAS_CONFLICT, and what `read` throws
 */
export async function expandImageLists(manifest: Manifest, read: (pathOrUrl: string) => Promise<string>): Promise<Manifest> {
  const entries = new Map<string, ImageEntry>(manifest.images.map((entry) => [formatReference(entry.ref), entry]));
  const pinned = new Set(manifest.images.map((entry) => formatReference(withoutDigest(entry.ref))));
  for (const source of new Set(manifest.imageLists)) {
    for (const image of parseImageList(await read(source), listName(source))) {
      const key = formatReference(image.ref);
      if (entries.has(key) || (image.ref.digest === undefined && pinned.has(key))) continue;
      const verify = manifest.verify === undefined ? {} : { verify: manifest.verify };
      const evidence = manifest.evidence === undefined ? {} : { evidence: manifest.evidence };
      entries.set(key, { ...image, platforms: manifest.platforms, aliases: [], ...verify, ...evidence });
      if (entries.size > LIMITS.imageListLines)
        throw problemsError([
          { where: image.where, path: '', message: `more than ${LIMITS.imageListLines} images in one bundle` },
        ]);
    }
  }
  const images = [...entries.values()];
  const problems = nameConflicts(images);
  if (problems.length > 0) throw problemsError(problems);
  return { ...manifest, images, imageLists: [] };
}

const withoutDigest = ({ origin, repository, tag }: Reference): Reference => ({
  origin,
  repository,
  ...(tag === undefined ? {} : { tag }),
});
