import type { BundleDiff, ContentChange } from '../../bundle/diff.ts';
import { BundleError } from '../../core/errors.ts';
import type { CommandDefinition } from '../command.ts';
import type { Context } from '../context.ts';
import { plural } from '../ports.ts';
import { formatBytes } from '../render/bytes.ts';
import { printJson } from '../render/failure.ts';
import { verdictText } from '../render/verdict.ts';
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

/** Another image has other signatures, of course: they are counted where the image is the same. */
function evidenceLines({ change, before, after, evidence }: ContentChange): string[] {
  if (before === undefined || after === undefined) return [];
  const lines: string[] = [];
  if (evidence !== undefined && before.digest === after.digest && before.targetDigest === after.targetDigest) {
    const { added, removed, replaced } = evidence;
    const other = replaced === 0 ? '' : `, ${plural(replaced, 'list')} replaced`;
    if (added + removed + replaced > 0) lines.push(`signatures changed: +${added} -${removed}${other}`);
  }
  const [was, now] = [verdictText(before.verdict), verdictText(after.verdict)];
  if (was !== now) lines.push(`upstream: ${was} -> ${now}`);
  else if (change === 'evidence' && lines.length === 0) lines.push(`upstream: ${now}, by another signature or policy`);
  return lines;
}

function print(diff: BundleDiff, from: number, to: number, context: Context): void {
  for (const each of diff.changes) {
    const { ref, change, before, after } = each;
    context.stdout(`${change.padEnd(8)} ${ref}\n`);
    if (before !== undefined && before.targetDigest !== after?.targetDigest) context.stdout(`  - ${before.targetDigest}\n`);
    if (after !== undefined && before?.targetDigest !== after.targetDigest) context.stdout(`  + ${after.targetDigest}\n`);
    for (const line of evidenceLines(each)) context.stdout(`  ${line}\n`);
  }
  context.stdout(
    `generation ${from} -> ${to}: ${plural(diff.changes.length, 'change')}, ${formatBytes(diff.bytesAdded)} new, ${formatBytes(diff.bytesRemoved)} gone\n`,
  );
}
