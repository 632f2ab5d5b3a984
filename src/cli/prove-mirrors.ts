import type { Generation } from '../bundle/generation.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { parseReference } from '../core/reference.ts';
import type { Asker, CheckReference } from '../k3s/check.ts';
import type { Registries } from '../k3s/registries.ts';
import type { Context } from './context.ts';
import type { Args } from './options.ts';

/** One reference per origin is enough to know that the way there is right; one with a tag where there is one. */
function samples(generation: Generation): CheckReference[] {
  const references = new Map<string, CheckReference>();
  for (const content of generation.statement.predicate.contents) {
    const { origin, repository, tag } = parseReference(content.ref);
    if (references.get(origin)?.tag === undefined)
      references.set(origin, { origin, repository, ...(tag === undefined ? {} : { tag }), digest: content.targetDigest });
  }
  return [...references.values()];
}

/**
 * Resolves through the mirrors before they are written, as the nodes would: with ctr where there is one, else by HEAD.
 * @throws BundleError E_MIRROR_CHECK, and E_USAGE when --ctr can't be run
 */
export async function proveMirrors(args: Args, context: Context, generation: Generation, registries: Registries): Promise<void> {
  const { checkMirrors, mirrorCheckError } = await import('../k3s/check.ts');
  const { createNodeHead } = await import('../k3s/node-head.ts');
  const node = createNodeHead(context.env);
  try {
    const asker: Asker = (await ctrAsker(args, context)) ?? { kind: 'head', head: node.head };
    const results = await checkMirrors({ registries, references: samples(generation), asker });
    for (const { ok, reference, by, detail } of results)
      if (!args.quiet)
        context.stderr(`  ${ok ? 'resolves' : 'FAILS   '} ${reference} by ${by}${detail === undefined ? '' : `  (${detail})`}\n`);
    const error = mirrorCheckError(results);
    if (error !== undefined) throw error;
  } finally {
    await node.close();
  }
}

async function ctrAsker(args: Args, context: Context): Promise<Asker | undefined> {
  const { createSpawn } = await import('../k3s/spawn.ts');
  const spawn = createSpawn(context.env as NodeJS.ProcessEnv);
  const candidates = args.ctr === undefined ? [['k3s', 'ctr'], ['ctr']] : [args.ctr.split(' ').filter((part) => part !== '')];
  for (const command of candidates) {
    const found = await spawn([...command, '--version'], { timeoutMs: 10_000 }).catch((error: unknown) => {
      if (isBundleError(error)) return undefined;
      throw error;
    });
    if (found?.status === 0)
      return { kind: 'ctr', command, spawn, fs: context.fs, temporaryDirectory: context.env.TMPDIR ?? '/tmp' };
  }
  if (args.ctr !== undefined) throw new BundleError('E_USAGE', `--ctr ${args.ctr}: can't be run`);
  return undefined;
}
