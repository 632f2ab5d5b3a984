import type { Generation } from '../../bundle/generation.ts';
import type { Statement } from '../../bundle/statement.ts';
import { BundleError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { type CommandDefinition, numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { plural } from '../ports.ts';
import { formatBytes, table } from '../render/bytes.ts';
import { printJson } from '../render/failure.ts';
import { verdictText } from '../render/verdict.ts';

export const inspectCommand: CommandDefinition = {
  usage: 'inspect <bundle>',
  describe: 'show what a bundle holds (reads only; "verify" checks)',
  positionals: { bundle: { type: 'string', demandOption: true, describe: 'directory of the bundle' } },
  options: ['generation'],
  async run(args, context) {
    const { generation, sequences } = await openGeneration(
      context,
      String(args.bundle),
      numberFlag(args, 'generation', 1, Number.MAX_SAFE_INTEGER),
    );
    const { predicate } = generation.statement;
    const unique = predicate.blobs.reduce((sum, b) => sum + b.size, 0);
    const apart = predicate.contents.reduce((sum, c) => sum + c.size, 0);
    const signers = generation.signatures.map((s) => s.name.replace('.sigstore.json', ''));
    const { blobs, ...shown } = predicate;
    if (args.json)
      printJson(context, {
        ...shown,
        statement: generation.statementDigest,
        generations: sequences,
        signatures: signers,
        blobs: blobs.length,
        bytes: unique,
        bytesUnshared: apart,
      });
    else {
      context.stdout(
        `${predicate.name}, generation ${predicate.sequence} (of ${sequences.join(', ')}), created ${predicate.created} by ${printable(predicate.tool, 100)}\n`,
      );
      if (predicate.expires !== undefined) context.stdout(`expires ${predicate.expires}\n`);
      context.stdout(
        `signatures (not checked here): ${signers.length === 0 ? 'NONE' : signers.map((s) => s.slice(0, 12)).join(', ')}\n`,
      );
      context.stdout(
        `${plural(blobs.length, 'blob')}, ${formatBytes(unique)}; ${formatBytes(apart - unique)} saved by sharing\n\n`,
      );
      context.stdout(table([HEAD, ...rows(predicate)]));
    }
    return 0;
  },
};

const HEAD = ['REFERENCE', 'DIGEST AT THE TARGET', 'FORM', 'SIZE', 'PLATFORMS', 'EVIDENCE', 'UPSTREAM'];

const rows = (predicate: Statement['predicate']): string[][] =>
  predicate.contents.map((c) => [
    c.ref,
    c.targetDigest,
    c.form,
    formatBytes(c.size),
    printable(c.platforms.join(' '), 500) || '-',
    String((c.evidence ?? []).filter((e) => !e.superseded).length),
    verdictText(c.verdict),
  ]);

/** Reads one generation without checking it. @throws BundleError E_MISSING, E_LAYOUT, E_STATEMENT */
export async function openGeneration(
  context: Context,
  directory: string,
  wanted: number | undefined,
): Promise<{ generation: Generation; sequences: number[] }> {
  const { listGenerations, readGeneration } = await import('../../bundle/generation.ts');
  const sequences = await listGenerations(context.fs, directory);
  const sequence = wanted ?? sequences.at(-1);
  if (sequence === undefined)
    throw new BundleError('E_LAYOUT', `${directory} holds no bundle`, {
      origin: 'bundle',
      hint: 'name the directory that "bundle pull" made',
    });
  if (!sequences.includes(sequence))
    throw new BundleError('E_MISSING', `${directory} has no generation ${sequence}; it has ${sequences.join(', ')}`, {
      origin: 'bundle',
      hint: 'name one of those, or none for the newest',
    });
  return { generation: await readGeneration(context.fs, directory, sequence), sequences };
}
