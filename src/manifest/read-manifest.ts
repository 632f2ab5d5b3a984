import { dirname, isAbsolute, join } from 'node:path';
import { BundleError, diskError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { type Platform, parsePlatform } from '../core/platform.ts';
import { parseReference } from '../core/reference.ts';
import type { FileSystem } from '../files/file-system.ts';
import { formatAlias, parseAlias } from './alias.ts';
import { type Finding, findings } from './describe-issue.ts';
import { parseDuration } from './duration.ts';
import { collapseEntries, nameConflicts } from './entries.ts';
import { locateList } from './list-source.ts';
import type { Alias, ImageEntry, Manifest } from './manifest.ts';
import { formatPath, type Problem, problemsError } from './problems.ts';
import { type ManifestFile, manifestSchema } from './schema.ts';
import { parseStrictYaml, type StrictYaml } from './strict-yaml.ts';
import { toVerifySetting, type VerifyFile, type VerifySetting } from './verify-setting.ts';

/**
 * Paths (`imageLists`, keys, `trustedRoot`) come back relative to where `fileName` is relative to.
 * @param fileName as it shall stand in messages
 * @throws BundleError E_MANIFEST with every problem as `file:line:column: path: message`; E_ALIAS_CONFLICT when names are all that is wrong
 */
export function parseManifest(text: string, fileName: string): Manifest {
  const yaml = parseStrictYaml(text, fileName);
  const result = manifestSchema.safeParse(yaml.value);
  if (!result.success) {
    const found = result.error.issues.flatMap((issue) => findings(issue, yaml.value)).map((finding) => located(finding, yaml));
    throw problemsError(found.sort((a, b) => a.line - b.line || a.column - b.column));
  }
  const manifest = toManifest(result.data, yaml, fileName);
  const { entries, problems } = collapseEntries(manifest.images);
  const all = [...problems, ...nameConflicts(entries)];
  if (all.length > 0) throw problemsError(all);
  return { ...manifest, images: entries };
}

/** Reads and parses a manifest. @throws BundleError E_MANIFEST, E_ALIAS_CONFLICT, E_DISK */
export async function readManifest(fs: FileSystem, path: string): Promise<Manifest> {
  let bytes: Buffer;
  try {
    bytes = await fs.readUserFile(path, LIMITS.manifestFileBytes);
  } catch (error) {
    if (isBundleError(error))
      throw new BundleError('E_MANIFEST', `${path}:1:1: ${error.message}`, { cause: error, origin: 'host' });
    throw diskError(error, `reading the manifest ${path}`);
  }
  return parseManifest(decodeText(bytes, path), path);
}

/** @throws BundleError E_MANIFEST when the bytes are not UTF-8 */
export function decodeText(bytes: Uint8Array, fileName: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new BundleError('E_MANIFEST', `${fileName}:1:1: is not UTF-8`, { cause: error, origin: 'host' });
  }
}

type Located = Problem & Readonly<{ line: number; column: number }>;

function located(finding: Finding, yaml: StrictYaml): Located {
  const where = yaml.where(finding.path, finding.of);
  const [line, column] = where.split(':').slice(-2).map(Number) as [number, number];
  return { where, path: formatPath(finding.path), message: finding.message, line, column };
}

type Platforms = ManifestFile['platforms'];

const toPlatforms = (written: Platforms, usual: 'all' | readonly Platform[]): 'all' | readonly Platform[] => {
  if (written === undefined) return usual;
  return written === 'all' ? 'all' : [...new Set(written.map(parsePlatform))];
};

const toEvidence = (written: ManifestFile['evidence'], usual?: ManifestFile['evidence']): { evidence?: 'none' } =>
  (written ?? usual) === 'none' ? { evidence: 'none' } : {};

function toAliases(written: readonly string[]): Alias[] {
  const byName = new Map(written.map((text) => [formatAlias(parseAlias(text)), parseAlias(text)]));
  return [...byName.values()];
}

function toManifest(file: ManifestFile, yaml: StrictYaml, fileName: string): Manifest {
  const platforms = toPlatforms(file.platforms, 'all');
  const folder = dirname(fileName);
  const toVerify = (written: VerifyFile | undefined, usual?: VerifySetting): { verify?: VerifySetting } => {
    const verify = written === undefined ? usual : toVerifySetting(written, folder);
    return verify === undefined ? {} : { verify };
  };
  const usual = toVerify(file.verify);
  const lists = file.imageLists ?? [];
  if (lists.length === 0 && (file.images ?? []).length === 0)
    throw problemsError([
      { where: yaml.where(['images'], 'key'), path: '', message: 'names nothing to carry: want images or imageLists' },
    ]);
  return {
    name: file.name,
    platforms,
    images: (file.images ?? []).map((image, i): ImageEntry => {
      const entry = typeof image === 'string' ? { ref: image } : image;
      return {
        ref: parseReference(entry.ref),
        text: entry.ref,
        platforms: toPlatforms(entry.platforms, platforms),
        ...toVerify(entry.verify, usual.verify),
        ...toEvidence(entry.evidence, file.evidence),
        ...(entry.index === undefined ? {} : { index: entry.index }),
        aliases: toAliases(entry.aliases ?? []),
        where: yaml.where(['images', i]),
      };
    }),
    ...usual,
    ...toEvidence(file.evidence),
    ...(file.trustedRoot === undefined
      ? {}
      : { trustedRoot: isAbsolute(file.trustedRoot) ? file.trustedRoot : join(folder, file.trustedRoot) }),
    imageLists: [...new Set(lists.map((source) => locateList(fileName, source)))],
    ...(file.expires === undefined ? {} : { expiresMs: parseDuration(file.expires) }),
  };
}
