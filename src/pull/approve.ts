import {
  addSignature,
  type Generation,
  type NamedBytes,
  refreshCopies,
  requireFolders,
  sweepGenerations,
} from '../bundle/generation.ts';
import { signatureName } from '../bundle/layout.ts';
import { type VerifiedBundle, type VerifyOptions, verifyBundle, verifyStatement } from '../bundle/verify.ts';
import { BundleError, diskError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Reporter } from '../core/progress.ts';
import { type DirectoryLock, withDirectoryLock } from '../files/directory-lock.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { requireCountingKey } from '../sign/counting-key.ts';
import { shortKeyid } from '../sign/public-key.ts';
import { parseStatementSignature } from '../sign/signature-shape.ts';
import type { SigningKey } from '../sign/signing-key.ts';
import { signStatement } from '../sign/statement-signature.ts';
import type { Trust } from '../sign/trust.ts';
import {
  countTrustedSignatures,
  type SignatureCount,
  type SignatureFile,
  verifyStatementSignature,
} from '../sign/verify-statement.ts';

export type ApproveRequest = Readonly<{
  directory: string;
  keys: readonly SigningKey[];
  /** Signature files that were made elsewhere; each must be by a key of `trust` that counts. */
  signatures: readonly SignatureFile[];
  /** With it the signatures that are there must count; without it only the content is checked. */
  trust: Trust | undefined;
  /** Milliseconds since 1970. */
  now: number;
  name?: string | undefined;
  generation?: number | undefined;
  /** Put the signature files there, and leave the bundle as it is: for a medium that can't be written. */
  output?: string | undefined;
  dryRun: boolean;
  breakLock: boolean;
}>;

export type Approval = Readonly<{
  verified: VerifiedBundle;
  /** keyids whose signature was added, and those that had signed before. */
  added: readonly string[];
  present: readonly string[];
  /** All signatures together, against `trust`. */
  count: SignatureCount | undefined;
}>;

type Ports = Readonly<{ fs: FileSystem; report?: Reporter; signal?: AbortSignal }>;

/**
 * Adds approvers' signatures to a committed generation, after everything in it was checked as load would check it, and without touching another of
 * its bytes. What is signed are the very bytes that were checked. Again with the same keys it changes nothing.
 * @throws BundleError those of verifyBundle; E_SIGNATURE for a signature there that is over other bytes; E_UNTRUSTED for one of `keys` that does not count
 * by `trust`; both for a file of `signatures`; E_LIMIT, E_LOCKED, E_DISK
 */
export async function approve(request: ApproveRequest, ports: Ports): Promise<Approval> {
  const { fs } = ports;
  const { directory, output } = request;
  if (output !== undefined || request.dryRun) return run(request, ports, undefined);
  if ((await fs.stat(directory)) === undefined)
    throw new BundleError('E_MISSING', `${directory} does not exist`, {
      origin: 'bundle',
      hint: 'name the directory of the bundle',
    });
  try {
    return await withDirectoryLock(fs, directory, { command: 'bundle sign', breakForeign: request.breakLock }, (lock) =>
      run(request, ports, lock),
    );
  } catch (error) {
    const known = diskError(error, `signing ${directory}`);
    if (!isBundleError(known) || known.code !== 'E_DISK' || known.hint !== undefined) throw known;
    const hint = 'when the medium is read-only, -o DIR writes the signature file there';
    throw new BundleError('E_DISK', known.message, { cause: known, origin: 'host', hint });
  }
}

async function run(request: ApproveRequest, ports: Ports, lock: DirectoryLock | undefined): Promise<Approval> {
  const { fs, signal } = ports;
  const { directory, output, trust } = request;
  if (lock !== undefined) {
    await requireFolders(fs, directory);
    await sweepGenerations(fs, directory);
  }
  const options = verifyOptions(request, ports);
  // Before all is hashed, which may take an hour; and of what was hashed, since without the lock another may have come between.
  requireApprovable(request, (await verifyStatement(fs, directory, options)).generation);
  const verified = await verifyBundle(fs, directory, options);
  const { generation } = verified;
  requireApprovable(request, generation);
  const there = new Map(generation.signatures.map((file) => [file.name, file.bytes]));
  const files = [...(await ownSignatures(request.keys, generation)), ...(await othersSignatures(request, generation))];
  const wanted = [...new Map(files.map((file) => [file.name, file])).values()];
  const missing = wanted.filter(({ name }) => !there.has(name));
  if (there.size + missing.length > LIMITS.signatureFiles) {
    throw new BundleError(
      'E_LIMIT',
      `generation ${generation.sequence} would have more than ${LIMITS.signatureFiles} signature files`,
    );
  }
  signal?.throwIfAborted();
  if (output !== undefined && !request.dryRun)
    for (const file of wanted) await writeFileDurable(fs, `${output}/${file.name}`, file.bytes);
  if (lock !== undefined) {
    await lock.check();
    for (const signature of missing) await addSignature(fs, directory, generation.sequence, signature);
    // Also without a new one: a run that was killed may have left the copies behind.
    await refreshCopies(fs, directory);
  }
  const keyidOf = ({ name }: NamedBytes): string => name.slice(0, 64);
  return {
    verified,
    added: missing.map(keyidOf),
    present: wanted.filter(({ name }) => there.has(name)).map(keyidOf),
    count: trust === undefined ? undefined : await countAll(request, generation, missing),
  };
}

/**
 * Who signs approves what others approved. That a signature there is over these bytes needs no trust to be seen; with trust, the new one must count too.
 * @throws BundleError E_SIGNATURE, E_UNTRUSTED
 */
function requireApprovable({ keys, trust, now }: ApproveRequest, { signatures, statementBytes, statement }: Generation): void {
  for (const { name, bytes } of signatures) {
    try {
      parseStatementSignature(bytes, statementBytes, name);
    } catch (error) {
      // Over these bytes, and of a kind that counts for nobody: it harms nothing.
      if (!isBundleError(error) || error.code !== 'E_UNTRUSTED') throw error;
    }
  }
  if (trust === undefined) return;
  const occasion = { name: statement.predicate.name, now };
  for (const { publicKey } of keys)
    requireCountingKey(publicKey, trust.keys, occasion, 'none of those that sign here, by this --trust');
}

/** One counting signature is enough here: the threshold is met by what is about to be added. */
function verifyOptions({ trust, now, name, generation }: ApproveRequest, { report, signal }: Ports): VerifyOptions {
  return {
    trust: trust === undefined ? 'insecure-skip' : { ...trust, threshold: 1 },
    now,
    name,
    generation,
    ...(report === undefined ? {} : { report }),
    ...(signal === undefined ? {} : { signal }),
  };
}

const countAll = ({ trust, now }: ApproveRequest, generation: Generation, more: readonly NamedBytes[]) =>
  trust === undefined
    ? undefined
    : countTrustedSignatures({
        ...generation,
        signatures: [...generation.signatures, ...more],
        trust,
        name: generation.statement.predicate.name,
        now,
      });

/** A signature of ours that is there already stays as it is, if it is one: cosign's differ from ours in their bytes. */
async function ownSignatures(keys: readonly SigningKey[], generation: Generation): Promise<NamedBytes[]> {
  const files: NamedBytes[] = [];
  for (const { publicKey, signer } of keys) {
    const name = signatureName(publicKey.keyid);
    const there = generation.signatures.find((file) => file.name === name)?.bytes;
    if (there !== undefined) await verifyStatementSignature(there, generation.statementBytes, [publicKey], name);
    files.push({ name, bytes: there ?? (await signStatement(signer, generation.statementBytes)) });
  }
  return files;
}

async function othersSignatures({ signatures, trust, now }: ApproveRequest, generation: Generation): Promise<NamedBytes[]> {
  if (signatures.length === 0) return [];
  if (trust === undefined) {
    throw new BundleError('E_USAGE', '--signature without --trust: who made it could not be checked', {
      hint: "name the trust of the air-gapped side, or the approver's .pub file: --trust",
    });
  }
  const { statementBytes, statement } = generation;
  const files: NamedBytes[] = [];
  for (const file of signatures) {
    const occasion = { name: statement.predicate.name, now };
    const { signers, refused } = await countTrustedSignatures({ statementBytes, signatures: [file], trust, ...occasion });
    const [keyid] = signers;
    if (keyid === undefined) throw new BundleError(refused[0]?.code ?? 'E_UNTRUSTED', `${refused[0]?.reason ?? file.name}`);
    const { hint } = parseStatementSignature(file.bytes, statementBytes, file.name);
    if (hint !== '' && Buffer.from(hint, 'base64').toString('hex') !== keyid)
      throw new BundleError('E_SIGNATURE', `${file.name} names another key inside than ${shortKeyid(keyid)}, which made it`);
    files.push({ name: signatureName(keyid), bytes: file.bytes });
  }
  return files;
}
