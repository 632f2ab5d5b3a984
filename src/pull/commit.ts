import type { BlobStore } from '../bundle/blob-store.ts';
import { addSignature, commitGeneration, type Generation, type NamedBytes } from '../bundle/generation.ts';
import { signatureName } from '../bundle/layout.ts';
import { BundleError } from '../core/errors.ts';
import type { DirectoryLock } from '../files/directory-lock.ts';
import type { FileSystem } from '../files/file-system.ts';
import { type LockFile, lockTime, newestResolution } from '../lock/lock-file.ts';
import type { SigningKey } from '../sign/signing-key.ts';
import { signStatement } from '../sign/statement-signature.ts';
import type { GenerationDraft } from './contents.ts';
import type { PullPorts } from './pull.ts';

/** Every load would refuse it: better said here, where it can be helped. @throws BundleError E_EXPIRED */
export function requireUnexpired(
  { sequence, created, expires }: GenerationDraft['predicate'],
  { now = Date.now, report }: PullPorts,
): void {
  if (expires === undefined) return;
  const left = Date.parse(expires) - now();
  const hint = 'run "bundle pull --renew": it gives the same content a new date';
  if (left <= 0) throw new BundleError('E_EXPIRED', `generation ${sequence} is there, but it expired at ${expires}`, { hint });
  if (left < (Date.parse(expires) - Date.parse(created)) / 2)
    report({ type: 'warning', text: `generation ${sequence} expires at ${expires}; ${hint}` });
}

/** The lock's newest resolution, but never before the generation it follows: taking an image out must not make the rest look older. */
export function createdAfter(previous: Generation | undefined, lock: LockFile): string {
  const resolved = lockTime(newestResolution(lock) * 1000);
  const before = previous?.statement.predicate.created ?? '';
  return before > resolved ? before : resolved;
}

async function signAll(keys: readonly SigningKey[], statementBytes: Uint8Array): Promise<NamedBytes[]> {
  const files: NamedBytes[] = [];
  for (const key of keys)
    files.push({ name: signatureName(key.publicKey.keyid), bytes: await signStatement(key.signer, statementBytes) });
  return files;
}

/** The commit point of design.md, "Write order": everything on the disk and the lock still ours, then one rename. */
export async function commit(
  { directory, keys }: Readonly<{ directory: string; keys: readonly SigningKey[] }>,
  ports: PullPorts,
  lock: DirectoryLock,
  store: BlobStore,
  unsafe: GenerationDraft['predicate']['blobs'],
  draft: GenerationDraft,
): Promise<void> {
  ports.report({ type: 'phase', phase: 'commit' });
  const signatures = await signAll(keys, draft.statementBytes);
  await store.sync(unsafe);
  await lock.check();
  ports.signal?.throwIfAborted();
  await commitGeneration(ports.fs, directory, { sequence: draft.sequence, files: [...draft.files, ...signatures] });
}

/** A key that has not signed the generation yet signs it as it is. */
export async function addMissingSignatures(
  fs: FileSystem,
  directory: string,
  generation: Generation,
  keys: readonly SigningKey[],
): Promise<void> {
  const there = new Set(generation.signatures.map((s) => s.name));
  const missing = keys.filter((key) => !there.has(signatureName(key.publicKey.keyid)));
  for (const signature of await signAll(missing, generation.statementBytes))
    await addSignature(fs, directory, generation.sequence, signature);
}
