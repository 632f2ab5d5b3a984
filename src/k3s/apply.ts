import { dirname, resolve } from 'node:path';
import { diskError } from '../core/errors.ts';
import { withDirectoryLock } from '../files/directory-lock.ts';
import { sweepTemporary } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { backupPath, type Installed, installRegistriesYaml, readRegistriesFile } from './install.ts';
import { type LintWarning, lintRegistries } from './lint.ts';
import { mergeRegistries } from './merge.ts';
import { type MirrorsState, mirrorsStatePath, readMirrorsState, settledRecord, writeMirrorsState } from './mirrors-state.ts';
import type { Registries } from './registries.ts';
import { parseRegistriesYaml } from './registries-yaml.ts';
import { goBack, isOnlyCopy, type Restored, textDigest, wayBackOf } from './way-back.ts';

export type ApplyRequest = Readonly<{
  file: string;
  bundle: string;
  desired: Registries;
  stateRoot: string;
  force: boolean;
  dryRun: boolean;
  /** Takes over the lock of another host: `--break-lock`. */
  breakForeign?: boolean;
  prove?: (registries: Registries) => Promise<void>;
}>;
export type Applied = Omit<Installed, 'restore'> &
  Readonly<{
    text: string;
    registries: Registries;
    changes: readonly string[];
    warnings: readonly LintWarning[] /** The file changed since k3s was last restarted by us. */;
    restartOwed: boolean;
    /** To be called after a restart that worked. */
    restarted: () => Promise<void>;
    /** Puts back what k3s last started with, be it from this run or from an earlier one that was not followed by a restart. */
    restore: () => Promise<Restored>;
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
    const lock = { command: `bundle mirrors ${request.bundle}`, breakForeign: request.breakForeign ?? false };
    return await withDirectoryLock(fs, directory, lock, async () => {
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
  const shown = { text: merged.text, registries, changes: merged.changes, warnings };
  const wanted = { path: file, text: merged.text, expected: existing, bundle: request.bundle };
  if (request.dryRun) {
    const installed = await installRegistriesYaml(fs, { ...wanted, dryRun: true });
    const restore = async (): Promise<Restored> => ({ done: true });
    return { ...installed, ...shown, restartOwed: false, restarted: async () => undefined, restore };
  }
  const after = { ...before, [request.bundle]: merged.written };
  const isOwed = merged.changed || state.restartOwed === true;
  const backup = backupPath(file, request.bundle);
  const wayBack = isOwed ? wayBackOf(state, { existing, changed: merged.changed, backup, written: before }) : undefined;
  const owed = isOwed ? { restartOwed: true as const, ...(wayBack === undefined ? {} : { wayBack }) } : {};
  const keepBackup = await isOnlyCopy(fs, state, existing, backup);
  const save = (value: MirrorsState): Promise<void> => writeMirrorsState(fs, path, file, value);
  if (merged.changed) await save({ written: before, ...owed, pending: { text: textDigest(merged.text), written: after } });
  const installed = await installRegistriesYaml(fs, { ...wanted, keepBackup });
  await save({ written: after, ...owed });
  return {
    ...installed,
    ...shown,
    restartOwed: isOwed,
    restarted: async () => {
      // Another run may have changed both while k3s came up: that change is still owed its restart.
      if ((await readRegistriesFile(fs, file)) === merged.text) await save({ written: after });
    },
    restore: () => goBack(fs, { file, statePath: path, wayBack, current: merged.text }),
  };
}
