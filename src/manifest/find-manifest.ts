import { BundleError, diskError } from '../core/errors.ts';
import type { FileSystem } from '../files/file-system.ts';

/** What stands in `directory` and could be a manifest: *.yaml and *.yml that are not hidden. */
async function candidates(fs: FileSystem, directory: string): Promise<string[]> {
  const found: string[] = [];
  try {
    if ((await fs.stat(directory))?.kind !== 'directory') return [];
    for (const name of await fs.list(directory)) {
      if (!/^[^.].*\.ya?ml$/.test(name)) continue;
      if ((await fs.stat(`${directory}/${name}`))?.kind !== 'directory') found.push(`${directory}/${name}`);
    }
  } catch (error) {
    throw diskError(error, `looking for a manifest in ${directory}`);
  }
  return found;
}

/**
 * The manifest that a command works on: the one named by `-f`, or the only one in `manifests/`.
 * @throws BundleError E_USAGE when there is none or a choice, with what there is
 */
export async function findManifest(fs: FileSystem, file?: string, directory = 'manifests'): Promise<string> {
  if (file !== undefined) {
    const kind = (await fs.stat(file))?.kind;
    if (kind !== undefined && kind !== 'directory') return file;
    const there = await candidates(fs, directory);
    const hint = there.length === 0 ? `write one, such as ${directory}/example.yaml` : `there is ${there.join(', ')}`;
    throw new BundleError('E_USAGE', `-f ${file}: ${kind === undefined ? 'there is no such file' : 'is a directory'}`, {
      hint,
      origin: 'host',
    });
  }
  const there = await candidates(fs, directory);
  const [only, ...more] = there;
  if (only === undefined)
    throw new BundleError('E_USAGE', `no manifest: ${directory}/ has no .yaml file`, {
      hint: `write one, such as ${directory}/example.yaml, or name one with -f FILE`,
      origin: 'host',
    });
  if (more.length > 0)
    throw new BundleError('E_USAGE', `${there.length} manifests in ${directory}/: ${there.join(', ')}`, {
      hint: 'choose one with -f FILE',
      origin: 'host',
    });
  return only;
}
