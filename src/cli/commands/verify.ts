import type { DeepContent } from '../../bundle/deep-evidence.ts';
import type { VerifiedBundle } from '../../bundle/verify.ts';
import { isBundleError } from '../../core/errors.ts';
import type { Trust } from '../../sign/trust.ts';
import { type CommandDefinition, numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { type Args, GATE } from '../options.ts';
import { DEFAULT_STATE, plural, policiesFor, trustFor } from '../ports.ts';
import { formatBytes } from '../render/bytes.ts';
import { evidenceText, keyNames, type NameOfKey, upstreamCounts, upstreamText } from '../render/evidence.ts';
import { printJson } from '../render/failure.ts';
import { createProgress } from '../render/progress.ts';

export const verifyCommand: CommandDefinition = {
  usage: 'verify <bundle>',
  describe: 'check signatures, completeness and every byte of a bundle, offline',
  positionals: { bundle: { type: 'string', demandOption: true, describe: 'directory of the bundle' } },
  options: ['state', 'deep', ...GATE],
  examples: [
    ['$0 verify bundles/lumen --trust release.pub', 'the check that load makes before it writes anything'],
    ['$0 verify bundles/lumen --deep', 'and whose signatures each image carries'],
  ],
  async run(args, context) {
    const { listGenerations } = await import('../../bundle/generation.ts');
    const { verifyBundle } = await import('../../bundle/verify.ts');
    const { newestSeen } = await import('../../load/state.ts');
    const directory = String(args.bundle);
    const wanted = numberFlag(args, 'generation', 1, Number.MAX_SAFE_INTEGER);
    const trust = await trustFor(args, context);
    const progress = createProgress(args, context);
    const policies = await policiesFor(args, context);
    const now = Math.max(context.now(), await newestSeen(context.fs, args.state ?? DEFAULT_STATE));
    const options = { trust, name: args.name, now, report: progress.report, signal: context.signal };
    const verified = await verifyBundle(context.fs, directory, { ...options, policies, generation: wanted });
    // Older generations are kept to go back to: damage there is damage too. Their expiry is nobody's news, nor that keys were exchanged since.
    const older =
      wanted !== undefined
        ? []
        : (await listGenerations(context.fs, directory)).filter((n) => n !== verified.generation.sequence);
    const listed = new Set<string>(verified.generation.statement.predicate.blobs.map((b) => b.digest));
    for (const generation of older) {
      const check = { ...options, allowExpired: true, generation };
      const { statement } = (
        await verifyBundle(context.fs, directory, check).catch(async (error: unknown) => {
          if (!isBundleError(error) || !NOT_COUNTED.includes(error.code)) throw error;
          const untrusted = await verifyBundle(context.fs, directory, { ...check, trust: 'insecure-skip' });
          context.stderr(`warning: generation ${generation} is whole, and would not load any more: ${error.message}\n`);
          return untrusted;
        })
      ).generation;
      for (const blob of statement.predicate.blobs) listed.add(blob.digest);
    }
    const deep = args.deep ? await deepFor(verified, trust, now) : undefined;
    progress.end();
    const leftovers = verified.unlisted.filter((digest) => !listed.has(digest));
    print(verified, { older, leftovers, deep, nameOf: keyNames(trust) }, args, context);
    return 0;
  },
};

/** Whole, but not by signers of today's trust. A broken signature is damage. */
const NOT_COUNTED: readonly string[] = ['E_UNSIGNED', 'E_UNTRUSTED', 'E_THRESHOLD'];

async function deepFor(verified: VerifiedBundle, trust: Trust | 'insecure-skip', now: number): Promise<DeepContent[]> {
  const { deepEvidence } = await import('../../bundle/deep-evidence.ts');
  return deepEvidence(verified, trust === 'insecure-skip' ? [] : trust.keys, now);
}

type Beside = Readonly<{
  older: readonly number[];
  leftovers: readonly string[];
  deep: readonly DeepContent[] | undefined;
  nameOf: NameOfKey;
}>;

function print(verified: VerifiedBundle, { older, leftovers, deep, nameOf }: Beside, args: Args, context: Context): void {
  const { generation, signers, unlisted, warnings } = verified;
  const { predicate } = generation.statement;
  const upstream = upstreamCounts(verified);
  const bytes = predicate.blobs.reduce((sum, b) => sum + b.size, 0);
  for (const warning of warnings) context.stderr(`warning: ${warning}\n`);
  if (args.json) {
    const { name, sequence, created, expires } = predicate;
    printJson(context, {
      name,
      sequence,
      statement: generation.statementDigest,
      created,
      expires,
      signers,
      contents: predicate.contents.length,
      blobs: predicate.blobs.length,
      bytes,
      older,
      unlisted,
      leftovers,
      warnings,
      ...(upstream === undefined ? {} : { upstream }),
      ...(deep === undefined ? {} : { evidence: deep }),
    });
    return;
  }
  const by = signers.length === 0 ? 'SIGNATURES NOT CHECKED' : `signed by ${signers.map(nameOf).join(', ')}`;
  context.stdout(`${predicate.name}, generation ${predicate.sequence} of ${predicate.created}: ${by}\n`);
  context.stdout(
    `  ${plural(predicate.contents.length, 'reference')}, ${plural(predicate.blobs.length, 'blob')}, ${formatBytes(bytes)}: complete, every byte is right\n`,
  );
  if (upstream !== undefined) context.stdout(`  ${upstreamText(upstream)}\n`);
  if (older.length > 0) context.stdout(`  older generations are right too: ${older.join(', ')}\n`);
  if (leftovers.length > 0) context.stdout(`  ${plural(leftovers.length, 'blob')} not listed in it (left over): never pushed\n`);
  if (deep !== undefined) context.stdout(`\n${evidenceText(deep, nameOf)}`);
}
