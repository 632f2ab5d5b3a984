import { BundleError } from '../../core/errors.ts';
import type { Approval } from '../../pull/approve.ts';
import type { Trust } from '../../sign/trust.ts';
import type { SignatureFile } from '../../sign/verify-statement.ts';
import { type CommandDefinition, numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { plural, trustFor } from '../ports.ts';
import { formatBytes } from '../render/bytes.ts';
import { printJson } from '../render/failure.ts';
import { createProgress } from '../render/progress.ts';
import { signingKeysFor } from '../signing-keys.ts';

export const signCommand: CommandDefinition = {
  usage: 'sign <bundle>',
  describe: 'approve a bundle: check all of it, then add one more signature',
  positionals: { bundle: { type: 'string', demandOption: true, describe: 'directory of the bundle' } },
  options: ['key', 'key-password-file', 'signature', 'trust', 'name', 'generation', 'output', 'dry-run', 'break-lock'],
  examples: [
    ['$0 sign bundles/lumen --key ben.key --trust trust/', 'the second of two people: also checks who signed before'],
    ['$0 sign /media/usb/lumen --key ben.key -o .', 'the medium is read-only: writes <keyid>.sigstore.json here'],
    ['$0 sign bundles/lumen --signature 0f3a….sigstore.json --trust trust/', 'adds what an approver made elsewhere'],
  ],
  async run(args, context) {
    if (args.key === undefined && args.signature === undefined && !args['dry-run']) {
      throw new BundleError('E_USAGE', 'no key to sign with', {
        hint: 'say --key FILE, or --signature FILE for one made elsewhere',
      });
    }
    if (args.output === '-') {
      throw new BundleError('E_USAGE', 'sign writes files, <keyid>.sigstore.json: it wants a directory, not standard output', {
        hint: '-o . writes them here',
      });
    }
    const { approve } = await import('../../pull/approve.ts');
    // Only what is said: the trust of this machine is not what the other side has.
    const given = args.trust === undefined ? undefined : await trustFor(args, context);
    const trust = given === 'insecure-skip' ? undefined : given;
    const keys = await signingKeysFor(args, context);
    const progress = createProgress(args, context);
    try {
      const approval = await approve(
        {
          directory: String(args.bundle),
          keys,
          signatures: await readSignatures(args, context),
          trust,
          now: context.now(),
          name: args.name,
          generation: numberFlag(args, 'generation', 1, Number.MAX_SAFE_INTEGER),
          output: args.output,
          dryRun: args['dry-run'] ?? false,
          breakLock: args['break-lock'] ?? false,
        },
        { fs: context.fs, report: progress.report, signal: context.signal },
      );
      progress.end();
      await print(approval, trust, args, context);
      return 0;
    } finally {
      progress.end();
    }
  },
};

async function readSignatures(args: Args, context: Context): Promise<SignatureFile[]> {
  const { LIMITS } = await import('../../core/limits.ts');
  const files: SignatureFile[] = [];
  for (const path of args.signature ?? []) {
    try {
      files.push({ name: path, bytes: await context.fs.readUserFile(path, LIMITS.signatureBytes) });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new BundleError('E_SIGNATURE', `signature file ${path}: can't be read: ${why}`, { cause: error });
    }
  }
  return files;
}

async function print(
  { verified, added, present, count }: Approval,
  trust: Trust | undefined,
  args: Args,
  context: Context,
): Promise<void> {
  const threshold = trust?.threshold;
  const { generation } = verified;
  const { name, sequence, created, expires, contents, blobs } = generation.statement.predicate;
  const bytes = blobs.reduce((sum, blob) => sum + blob.size, 0);
  const statement = generation.statementDigest;
  const output = args.output;
  if (args.json) {
    const checked = count === undefined ? 'content' : 'content and signatures';
    const signers = count?.signers;
    const what = { name, sequence, statement, created, expires, contents: contents.length, blobs: blobs.length, bytes };
    printJson(context, { ...what, checked, added, present, signers, threshold, output, dryRun: args['dry-run'] ?? false });
    return;
  }
  const { keyLabel } = await import('../../sign/trust-key.ts');
  const named = new Map(trust?.keys.map((key) => [key.keyid, key]));
  const label = (keyid: string): string => {
    const key = named.get(keyid);
    return key?.name === undefined ? keyid : keyLabel(key);
  };
  context.stdout(`${name}, generation ${sequence} of ${created}${expires === undefined ? '' : `, expires ${expires}`}\n`);
  context.stdout(`  statement ${statement}\n`);
  context.stdout(
    `  ${plural(contents.length, 'reference')}, ${plural(blobs.length, 'blob')}, ${formatBytes(bytes)}: complete, every byte is right\n`,
  );
  if (count === undefined) context.stdout('  who signed it before was NOT checked: only its content was (say --trust)\n');
  if (args['dry-run']) context.stdout('  not signed (--dry-run)\n');
  else {
    const where = output === undefined ? '' : `, in ${output}: the bundle was not changed`;
    for (const keyid of added) context.stdout(`  signed by ${label(keyid)}${where}\n`);
    for (const keyid of present) context.stdout(`  ${label(keyid)} had signed it already\n`);
  }
  if (count !== undefined && threshold !== undefined) {
    const missing = threshold - count.signers.length;
    const more = missing > 0 ? `${plural(missing, 'more is', 'more are')} missing` : 'enough';
    context.stdout(`  ${plural(count.signers.length, 'signature counts', 'signatures count')}, ${threshold} needed: ${more}\n`);
    for (const { reason } of count.refused.slice(0, 3)) context.stdout(`  not counted: ${reason}\n`);
  }
}
