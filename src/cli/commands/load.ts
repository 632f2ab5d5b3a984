import { BundleError, isBundleError } from '../../core/errors.ts';
import type { LoadResult } from '../../load/load.ts';
import { type CommandDefinition, numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { type Args, GATE, NETWORK, NODES } from '../options.ts';
import { clientFor, DEFAULT_STATE, plural, policiesFor, trustFor } from '../ports.ts';
import { formatBytes } from '../render/bytes.ts';
import { type UpstreamCounts, upstreamCounts, upstreamText } from '../render/evidence.ts';
import { printJson } from '../render/failure.ts';
import { createProgress } from '../render/progress.ts';
import { type MirrorsOutcome, mirrorsAfterLoad } from './mirrors.ts';

export const loadCommand: CommandDefinition = {
  usage: 'load <bundle>',
  describe: 'verify a bundle whole, push it into a registry, tags last, and write the k3s mirrors',
  positionals: { bundle: { type: 'string', demandOption: true, describe: 'directory of the bundle; may be read-only' } },
  options: [
    'registry',
    'state',
    'allow-rollback',
    'force-tags',
    'break-lock',
    'skip-mirrors',
    'dry-run',
    ...GATE,
    ...NETWORK,
    ...NODES,
  ],
  examples: [
    ['$0 load /media/usb/lumen --registry 127.0.0.1:5000 --endpoint https://node-1:5000', 'with trust from /etc/bundle/trust'],
    [
      '$0 load lumen --registry 127.0.0.1:5000 --plain-http 127.0.0.1:5000 --trust release.pub --state ./state',
      'by hand, without root',
    ],
  ],
  async run(args, context) {
    const { afterOthers } = await import('../../load/incomplete.ts');
    const { load } = await import('../../load/load.ts');
    const { newestSeen } = await import('../../load/state.ts');
    const { parseTarget } = await import('../../load/target.ts');
    const { parseEndpoint } = await import('../../k3s/endpoint.ts');
    const { verifyBundle } = await import('../../bundle/verify.ts');
    if (args.registry === undefined || args.registry.length === 0) throw noTarget(String(args.bundle));
    const targets = args.registry.map(parseTarget);
    // Before anything moves: a slip in what is needed last must not end a load that is done.
    for (const endpoint of args.endpoint ?? []) parseEndpoint(endpoint);
    const stateRoot = args.state ?? DEFAULT_STATE;
    const wanted = numberFlag(args, 'generation', 1, Number.MAX_SAFE_INTEGER);
    const trust = await trustFor(args, context);
    const policies = await policiesFor(args, context);
    const progress = createProgress(args, context);
    const client = await clientFor(args, context);
    try {
      // An expired bundle does not get young again because the clock was set back.
      const now = Math.max(context.now(), await newestSeen(context.fs, stateRoot));
      const bundle = await verifyBundle(context.fs, String(args.bundle), {
        trust,
        policies,
        now,
        name: args.name,
        generation: wanted,
        report: progress.report,
        signal: context.signal,
      });
      for (const warning of bundle.warnings) progress.report({ type: 'warning', text: warning });
      const options = {
        allowRollback: args['allow-rollback'] ?? false,
        forceTags: args['force-tags'] ?? false,
        breakLock: args['break-lock'] ?? false,
        dryRun: args['dry-run'] ?? false,
      };
      if (options.allowRollback)
        progress.report({
          type: 'warning',
          text: `--allow-rollback: generation ${bundle.generation.sequence} is loaded even if the target has a newer one`,
        });
      const results: LoadResult[] = [];
      for (const target of targets) {
        const ports = { fs: context.fs, client, report: progress.report, signal: context.signal, now: context.now };
        try {
          results.push(await load({ bundle, target, stateRoot, ...options }, ports));
        } catch (error) {
          throw afterOthers(
            error,
            results.filter((r) => r.outcome === 'loaded').map((r) => r.target),
          );
        }
      }
      progress.end();
      const upstream = upstreamCounts(bundle);
      const mirrors = args['skip-mirrors']
        ? undefined
        : await mirrorsAfterLoad(args, context, bundle, targets).catch((error: unknown) => {
            // The load is done and stays done: it is reported also when the mirrors are what failed.
            if (!args.json) print(results, undefined, upstream, args, context);
            throw afterLoad(error, results);
          });
      print(results, mirrors, upstream, args, context);
      return 0;
    } finally {
      progress.end();
      await client.close();
    }
  },
};

const noTarget = (bundle: string): BundleError =>
  new BundleError('E_USAGE', 'no registry to load into', {
    hint: `bundle load ${bundle} --registry 127.0.0.1:5000 --endpoint https://node-1:5000`,
  });

function afterLoad(error: unknown, results: readonly LoadResult[]): unknown {
  if (!isBundleError(error)) return error;
  const hint = `${error.hint === undefined ? '' : `${error.hint}; `}the load itself is done: "bundle mirrors" does the rest`;
  return new BundleError(error.code, error.message, {
    hint,
    origin: error.origin,
    cause: error,
    detail: { ...error.detail, targets: plain(results) },
  });
}

/** A dry run does not look at the places of signatures: it can't say how many it would write. */
const plain = (results: readonly LoadResult[]) =>
  results.map((r) => ({
    ...r,
    evidence: r.outcome === 'dry-run' ? { places: r.evidence.places } : r.evidence,
    items: r.items.map(({ error: _error, ...item }) => item),
  }));

function signaturesText({ outcome, evidence: { places, written } }: LoadResult): string {
  if (outcome === 'dry-run') return `signatures: ${plural(places, 'place')}, not looked at in a dry run`;
  if (written === 0) return `signatures: ${plural(places, 'place')}, nothing to write`;
  return `signatures: ${plural(written, 'place')} written${written === places ? '' : `, ${places - written} as they should be`}`;
}

function print(
  results: readonly LoadResult[],
  mirrors: MirrorsOutcome | undefined,
  upstream: UpstreamCounts | undefined,
  args: Args,
  context: Context,
): void {
  if (args.json) {
    printJson(context, {
      targets: plain(results),
      ...(upstream === undefined ? {} : { upstream }),
      ...(mirrors === undefined ? {} : { mirrors }),
    });
    return;
  }
  for (const r of results) {
    const refused = r.items.filter((i) => i.originalIndex === 'refused').length;
    const what =
      r.outcome === 'unchanged'
        ? 'nothing to do, all is there'
        : r.outcome === 'dry-run'
          ? `${plural(r.tagsMoved, 'tag')} would move, the others are as they should be`
          : `pushed ${formatBytes(r.bytesPushed)}, ${plural(r.tagsMoved, 'tag')} moved`;
    context.stdout(`${r.target}: "${r.name}" generation ${r.sequence}, ${plural(r.references, 'reference')}: ${what}\n`);
    if (r.evidence.places > 0) context.stdout(`  ${signaturesText(r)}\n`);
    if (refused > 0)
      context.stdout(
        `  ${plural(refused, 'original index', 'original indexes')} with missing platforms not taken by this registry; tags and platform digests are not affected\n`,
      );
    if (r.receipt !== undefined) context.stdout(`  receipt: ${r.receipt}\n`);
  }
  if (upstream !== undefined) context.stdout(`${upstreamText(upstream)}\n`);
  if (mirrors !== undefined) context.stdout(`${mirrors.summary}\n`);
}
