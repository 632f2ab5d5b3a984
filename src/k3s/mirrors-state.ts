import * as z from 'zod';
import { type Digest, digestOf, hexOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { parseStrictJson, prettyJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { shapeFaults } from '../core/shape-faults.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { Written } from './written.ts';

/**
 * What each bundle wrote into one registries.yaml: `<state>/mirrors/<hash of its path>.json`. `pending` is written before the file is replaced and
 * names the text to come, so that a run killed between the two is told from one that never began.
 */
const tls = z.strictObject({
  ca_file: z.string().optional(),
  cert_file: z.string().optional(),
  key_file: z.string().optional(),
  insecure_skip_verify: z.boolean().optional(),
});
const written = z.strictObject({
  mirrors: z.record(
    z.string(),
    z.strictObject({ endpoint: z.array(z.string()), rewrite: z.record(z.string(), z.string()).optional() }),
  ),
  configs: z.record(z.string(), z.strictObject({ auth: z.string().optional(), tls: tls.optional() })),
});
const record = z.record(z.string(), written);
const state = z.strictObject({
  stateVersion: z.literal(1),
  file: z.string(),
  written: record,
  restartOwed: z.literal(true).optional(),
  wayBack: z.strictObject({ text: z.string(), backup: z.string().optional(), written: record }).optional(),
  pending: z.strictObject({ text: z.string(), written: record }).optional(),
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
  return parsed.data as unknown as MirrorsState;
}

export const writeMirrorsState = (fs: FileSystem, path: string, file: string, value: MirrorsState): Promise<void> =>
  writeFileDurable(fs, path, Buffer.from(prettyJson({ stateVersion: 1, file, ...value })), 0o600);

/** What was written last, given the text that stands in the file: a pending write counts when its text is there. */
export const settledRecord = (value: MirrorsState, text: string | undefined): Readonly<Record<string, Written>> =>
  value.pending !== undefined && (text === undefined ? 'absent' : digestOf(Buffer.from(text))) === value.pending.text
    ? value.pending.written
    : value.written;
