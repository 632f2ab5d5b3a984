import { BundleError, diskError, isSystemError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { removeFile, writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { unifiedDiff } from './diff.ts';
import { type ParsedRegistries, parseRegistriesYaml } from './registries-yaml.ts';

/** Where k3s looks when it is not told otherwise (`--private-registry`). */
export const REGISTRIES_FILE = '/etc/rancher/k3s/registries.yaml';

// It may hold logins; k3s runs as root.
const MODE = 0o600;

/** Where the file that was there before a bundle's change is kept. */
export const backupPath = (path: string, bundle: string): string => `${path}.bak-${bundle}`;

export type Installed = Readonly<{
  changed: boolean;
  /** Where the file that was there before is kept; undefined when there was none or nothing was written. */
  backup: string | undefined;
  /** For people, with passwords hidden. */
  diff: string;
  /** Puts back what was there before, byte for byte. */
  restore: () => Promise<void>;
}>;

/** Text of registries.yaml, undefined when there is none. @throws BundleError E_NOT_REGULAR, E_LIMIT, E_DISK, E_MIRRORS (not UTF-8) */
export async function readRegistriesFile(fs: FileSystem, path: string): Promise<string | undefined> {
  let bytes: Buffer;
  try {
    bytes = await fs.readFile(path, LIMITS.registriesYamlBytes);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw diskError(error, `reading ${path}`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new BundleError('E_MIRRORS', `${path} is not UTF-8`, { cause: error, origin: 'host' });
  }
}

/** Equal secrets get equal stand-ins, so that a changed password still shows as a changed line. */
function hideSecrets(parsed: ParsedRegistries, names: Map<string, string>): string {
  let { text } = parsed;
  for (const [start, end] of [...parsed.secrets].sort(([a], [b]) => b - a)) {
    const value = parsed.text.slice(start, end).replace(/^(["'])(.*)\1$/s, '$2');
    const shown = names.get(value) ?? `(hidden ${names.size + 1})`;
    names.set(value, shown);
    text = text.slice(0, start) + shown + text.slice(end);
  }
  return text;
}

/** The difference between two texts of registries.yaml without the passwords in them. @throws BundleError E_MIRRORS */
export function registriesDiff(before: string, after: string, file: string): string {
  const names = new Map<string, string>();
  return unifiedDiff(
    hideSecrets(parseRegistriesYaml(before, file), names),
    hideSecrets(parseRegistriesYaml(after, file), names),
    file,
  );
}

/**
 * Puts `text` in the place of registries.yaml: read back strictly first, the old file kept as `<path>.bak-<bundle>`, then replaced by one
 * rename with mode 0600. Nothing is written when the text is the same, or on a dry run.
 * @param request.expected the text that the merge started from: a file that changed since then is not overwritten
 * @param request.keepBackup leaves the backup that is there as it is
 * @throws BundleError E_MIRRORS, E_MIRRORS_CONFLICT, E_DISK, E_DISK_FULL, E_NOT_REGULAR
 */
export async function installRegistriesYaml(
  fs: FileSystem,
  request: Readonly<{
    path: string;
    text: string;
    expected: string | undefined;
    bundle: string;
    dryRun?: boolean;
    keepBackup?: boolean;
  }>,
): Promise<Installed> {
  const { path, text, bundle } = request;
  if (!/^[a-z0-9][a-z0-9._-]{0,127}$/.test(bundle)) {
    throw new BundleError('E_USAGE', `${JSON.stringify(bundle)} is not a bundle name that a file can be named after`);
  }
  const before = await readRegistriesFile(fs, path);
  if (before !== request.expected) {
    throw new BundleError('E_MIRRORS_CONFLICT', `${path} was changed by somebody else just now`, {
      origin: 'host',
      hint: 'run the same command again',
    });
  }
  const nothing = { changed: false, backup: undefined, diff: '', restore: async () => {} };
  if (text === (before ?? '')) return nothing;
  const diff = registriesDiff(before ?? '', text, path);
  if (request.dryRun) return { ...nothing, changed: true, diff };
  const backup = before === undefined ? undefined : backupPath(path, bundle);
  if (backup !== undefined && !request.keepBackup) await writeFileDurable(fs, backup, Buffer.from(before as string), MODE);
  await writeFileDurable(fs, path, Buffer.from(text), MODE);
  const restore = async (): Promise<void> => {
    if (before !== undefined) return writeFileDurable(fs, path, Buffer.from(before), MODE);
    await removeFile(fs, path);
  };
  return { changed: true, backup, diff, restore };
}
