import * as z from 'zod';
import { type Digest, digestOf, hexOf, isDigest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { parseStrictJson, prettyJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { shapeFaults } from '../core/shape-faults.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { type Written, writtenSchema } from './written.ts';

const record = z.record(z.string(), writtenSchema);
const text = z.union([z.literal('absent'), z.custom<Digest>(isDigest)], 'not a digest');
/**
 * What each bundle wrote into one registries.yaml: `<state>/mirrors/<hash of its path>.json`. `pending` is written before the file is replaced and
 * names the text to come, so that a run killed between the two is told from one that never began.
 */
const state = z.strictObject({
  stateVersion: z.literal(1),
  file: z.string(),
  written: record,
  restartOwed: z.literal(true).exactOptional(),
  wayBack: z.strictObject({ text, backup: z.string().exactOptional(), written: record }).exactOptional(),
  pending: z.strictObject({ text, written: record }).exactOptional(),
});

/** The file as it was before the first change that no restart followed: what k3s runs with. */
export type WayBack = Readonly<{
  /** Digest of the text, "absent" when there was no file. */
  text: Digest | 'absent';
  /** The file that holds it. */
  backup?: string;
  written: Readonly<Record<string, Written>>;
}>;

export type MirrorsState = Readonly<{
  written: Readonly<Record<string, Written>>;
  /** The file changed and k3s has not been restarted by us since: a run killed between the two must not forget it. */
  restartOwed?: true;
  /** Only beside `restartOwed`. */
  wayBack?: WayBack;
  pending?: Readonly<{ text: Digest | 'absent'; written: Readonly<Record<string, Written>> }>;
}>;

export const mirrorsStatePath = (stateRoot: string, file: string): string =>
  `${stateRoot}/mirrors/${hexOf(digestOf(Buffer.from(file))).slice(0, 16)}.json`;

/** @throws BundleError E_MIRRORS when it is there but can't be read */
export async function readMirrorsState(fs: FileSystem, path: string): Promise<MirrorsState> {
  if ((await fs.stat(path)) === undefined) return { written: {} };
  const parsed = state.safeParse(parseStrictJson(await fs.readFile(path, LIMITS.stateBytes), path, 'E_MIRRORS'));
  if (!parsed.success)
    throw new BundleError('E_MIRRORS', `${path} is not a state file of this version: ${shapeFaults(parsed.error, 1)[0]}`, {
      hint: "move it away; entries that bundle wrote then count as others'",
    });
  return parsed.data;
}

export const writeMirrorsState = (fs: FileSystem, path: string, file: string, value: MirrorsState): Promise<void> =>
  writeFileDurable(fs, path, Buffer.from(prettyJson({ stateVersion: 1, file, ...value })), 0o600);

/** What was written last, given the text that stands in the file: a pending write counts when its text is there. */
export const settledRecord = (value: MirrorsState, text: string | undefined): Readonly<Record<string, Written>> =>
  value.pending !== undefined && (text === undefined ? 'absent' : digestOf(Buffer.from(text))) === value.pending.text
    ? value.pending.written
    : value.written;
