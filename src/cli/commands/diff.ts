import type { BundleDiff } from '../../bundle/diff.ts';
import { BundleError } from '../../core/errors.ts';
import type { CommandDefinition } from '../command.ts';
import type { Context } from '../context.ts';
import { plural } from '../ports.ts';
import { formatBytes } from '../render/bytes.ts';
import { printJson } from '../render/failure.ts';
import { openGeneration } from './inspect.ts';

export const diffCommand: CommandDefinition = {
  usage: 'diff <a> [b]',
  describe: 'what changed from bundle a to bundle b, or between the two newest generations of a',
  positionals: {
    a: { type: 'string', demandOption: true, describe: 'directory of a bundle, or directory@sequence' },
    b: { type: 'string', describe: 'the same' },
  },
  options: ['exit-code'],
  async run(args, context) {
    const { diffStatements } = await import('../../bundle/diff.ts');
    const [before, after] = await openBoth(context, String(args.a), args.b === undefined ? undefined : String(args.b));
    const diff = diffStatements(before.statement.predicate, after.statement.predicate);
    if (args.json) printJson(context, { from: before.sequence, to: after.sequence, ...diff });
    else print(diff, before.sequence, after.sequence, context);
    return args['exit-code'] && diff.changes.length > 0 ? 11 : 0;
  },
};

async function openBoth(context: Context, a: string, b: string | undefined) {
  if (b !== undefined) return [await open(context, a), await open(context, b)] as const;
  const { sequences } = await openGeneration(context, a, undefined);
  if (sequences.length < 2)
    throw new BundleError('E_USAGE', `${a} has only one generation, ${sequences[0]}`, {
      hint: 'name a second bundle to compare with',
    });
  const read = async (sequence: number | undefined) => (await openGeneration(context, a, sequence)).generation;
  return [await read(sequences.at(-2)), await read(sequences.at(-1))] as const;
}

async function open(context: Context, text: string) {
  const at = /^(.*)@(\d+)$/.exec(text);
  const [directory, sequence] = at === null ? [text, undefined] : [at[1] as string, Number(at[2])];
  return (await openGeneration(context, directory, sequence)).generation;
}

function print(diff: BundleDiff, from: number, to: number, context: Context): void {
  for (const { ref, change, before, after } of diff.changes) {
    context.stdout(`${change.padEnd(8)} ${ref}\n`);
    if (before !== undefined && before.targetDigest !== after?.targetDigest) context.stdout(`  - ${before.targetDigest}\n`);
    if (after !== undefined && before?.targetDigest !== after.targetDigest) context.stdout(`  + ${after.targetDigest}\n`);
  }
  context.stdout(
    `generation ${from} -> ${to}: ${plural(diff.changes.length, 'change')}, ${formatBytes(diff.bytesAdded)} new, ${formatBytes(diff.bytesRemoved)} gone\n`,
  );
}
