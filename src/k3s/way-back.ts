import { digestOf } from '../core/digest.ts';
import { isBundleError, isSystemError } from '../core/errors.ts';
import { removeFile, writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { readRegistriesFile } from './install.ts';
import { type MirrorsState, readMirrorsState, type WayBack, writeMirrorsState } from './mirrors-state.ts';
import type { Written } from './written.ts';

/** Whether the file is again as it was when k3s last started, and if not, why and where that text is kept. */
export type Restored = Readonly<{ done: true } | { done: false; why: string; backup: string | undefined }>;

export const textDigest = (text: string | undefined): WayBack['text'] =>
  text === undefined ? 'absent' : digestOf(Buffer.from(text));

/**
 * What k3s started with, as far as is known: kept from the first change that no restart followed, or what stands in the file now.
 * @returns undefined when a restart is owed and the state doesn't say since which text
 */
export function wayBackOf(
  state: MirrorsState,
  now: Readonly<{ existing: string | undefined; changed: boolean; backup: string; written: Readonly<Record<string, Written>> }>,
): WayBack | undefined {
  const text = textDigest(now.existing);
  if (state.restartOwed === true && (!now.changed || state.wayBack?.text !== text)) return state.wayBack;
  return { text, ...(now.existing === undefined ? {} : { backup: now.backup }), written: now.written };
}

/** Whether `backup` is the only copy of what k3s started with: then a later change must not overwrite it. */
export async function isOnlyCopy(
  fs: FileSystem,
  state: MirrorsState,
  existing: string | undefined,
  backup: string,
): Promise<boolean> {
  const { wayBack } = state;
  if (wayBack?.backup !== backup || wayBack.text === textDigest(existing)) return false;
  return textDigest(await readRegistriesFile(fs, backup)) === wayBack.text;
}

type BackRequest = Readonly<{ file: string; statePath: string; wayBack: WayBack | undefined; current: string }>;

/**
 * Puts back what k3s last started with, from the backup, and its record; proven by reading it again before it is claimed. A file that
 * is not `current` any more was changed by somebody else and stays. What fails on the way is the reason in the answer.
 */
export async function goBack(fs: FileSystem, request: BackRequest): Promise<Restored> {
  const backup = request.wayBack?.backup;
  try {
    const why = await obstacle(fs, request);
    return why === undefined ? { done: true } : { done: false, why, backup };
  } catch (error) {
    if (!isBundleError(error) && !isSystemError(error)) throw error;
    return { done: false, why: error.message, backup };
  }
}

/** @returns why the old text is not back, undefined when it is */
async function obstacle(fs: FileSystem, { file, statePath, wayBack, current }: BackRequest): Promise<string | undefined> {
  if (wayBack === undefined) return 'it is not known which text k3s started with';
  if ((await readRegistriesFile(fs, file)) !== current) return 'somebody else changed it meanwhile';
  // Nothing to undo; the restart stays owed.
  if (textDigest(current) === wayBack.text) return undefined;
  const old = wayBack.backup === undefined ? undefined : await readRegistriesFile(fs, wayBack.backup);
  if (textDigest(old) !== wayBack.text) return 'the backup is gone or is not what k3s started with';
  const state = await readMirrorsState(fs, statePath);
  await writeMirrorsState(fs, statePath, file, {
    written: state.written,
    restartOwed: true,
    wayBack,
    pending: { text: wayBack.text, written: wayBack.written },
  });
  if (old === undefined) await removeFile(fs, file);
  else await writeFileDurable(fs, file, Buffer.from(old), 0o600);
  if (textDigest(await readRegistriesFile(fs, file)) !== wayBack.text) return 'it reads differently after writing';
  await writeMirrorsState(fs, statePath, file, { written: wayBack.written });
  return undefined;
}
