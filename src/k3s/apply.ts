import { dirname, resolve } from 'node:path';
import { digestOf } from '../core/digest.ts';
import { diskError } from '../core/errors.ts';
import { withDirectoryLock } from '../files/directory-lock.ts';
import { sweepTemporary } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { type Installed, installRegistriesYaml, readRegistriesFile } from './install.ts';
import { type LintWarning, lintRegistries } from './lint.ts';
import { mergeRegistries } from './merge.ts';
import { type MirrorsState, mirrorsStatePath, readMirrorsState, settledRecord, writeMirrorsState } from './mirrors-state.ts';
import type { Registries } from './registries.ts';
import { parseRegistriesYaml } from './registries-yaml.ts';

export type ApplyRequest = Readonly<{
  file: string;
  bundle: string;
  desired: Registries;
  stateRoot: string;
  force: boolean;
  dryRun: boolean;
  prove?: (registries: Registries) => Promise<void>;
}>;
export type Applied = Installed &
  Readonly<{
    text: string;
    registries: Registries;
    changes: readonly string[];
    warnings: readonly LintWarning[] /** The file changed since k3s was last restarted by us. */;
    restartOwed: boolean;
    restarted: () => Promise<void>;
  }>;

/**
 * Brings what a bundle needs into a node's registries.yaml: merged three ways, proven before it is put in place, written once, and remembered.
 * @param request.prove throws when the mirrors don't resolve; then nothing was written
 * @throws BundleError E_MIRRORS, E_MIRRORS_CONFLICT, E_MIRROR_CHECK, E_LOCKED, E_DISK
 */
export async function applyMirrors(fs: FileSystem, request: ApplyRequest): Promise<Applied> {
  const file = resolve(request.file);
  const path = mirrorsStatePath(request.stateRoot, file);
  const directory = `${request.stateRoot}/mirrors`;
  if (request.dryRun) return apply(fs, request, file, path);
  try {
    await fs.mkdir(directory);
    return await withDirectoryLock(fs, directory, { command: `bundle mirrors ${request.bundle}` }, async () => {
      // Beside registries.yaml too: what a killed run left there may hold a login.
      for (const left of [directory, dirname(file)]) await sweepTemporary(fs, left);
      return apply(fs, request, file, path);
    });
  } catch (error) {
    throw diskError(error, `keeping the state in ${directory}`);
  }
}

async function apply(fs: FileSystem, request: ApplyRequest, file: string, path: string): Promise<Applied> {
  const existing = await readRegistriesFile(fs, file);
  const state = await readMirrorsState(fs, path);
  const before = settledRecord(state, existing);
  const merged = mergeRegistries({
    existing,
    file,
    bundle: request.bundle,
    written: before,
    desired: request.desired,
    force: request.force,
  });
  const { registries } = parseRegistriesYaml(merged.text, file);
  const warnings = lintRegistries(registries);
  await request.prove?.(registries);
  const install = () =>
    installRegistriesYaml(fs, {
      path: file,
      text: merged.text,
      expected: existing,
      bundle: request.bundle,
      dryRun: request.dryRun,
    });
  const after = { ...before, [request.bundle]: merged.written };
  if (request.dryRun)
    return {
      ...(await install()),
      restartOwed: false,
      restarted: async () => undefined,
      text: merged.text,
      registries,
      changes: merged.changes,
      warnings,
    };
  const owed = merged.changed || state.restartOwed === true ? { restartOwed: true as const } : {};
  if (merged.changed) {
    const text = digestOf(Buffer.from(merged.text));
    await writeMirrorsState(fs, path, file, { written: before, ...owed, pending: { text, written: after } });
  }
  const installed = await install();
  const save = async (value: MirrorsState): Promise<void> => {
    if (JSON.stringify(value) !== JSON.stringify(await readMirrorsState(fs, path)))
      await writeMirrorsState(fs, path, file, value);
  };
  await save({ written: after, ...owed });
  return {
    ...installed,
    restore: async () => {
      await installed.restore();
      await writeMirrorsState(fs, path, file, { written: before });
    },
    restartOwed: owed.restartOwed === true,
    restarted: () => save({ written: after }),
    text: merged.text,
    registries,
    changes: merged.changes,
    warnings,
  };
}
