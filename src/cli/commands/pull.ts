import { BundleError } from '../../core/errors.ts';
import type { ManifestReader } from '../../lock/resolve.ts';
import type { PullResult } from '../../pull/pull.ts';
import { type CommandDefinition, numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { type Args, NETWORK } from '../options.ts';
import { clientFor, plural } from '../ports.ts';
import { formatBytes } from '../render/bytes.ts';
import { printJson } from '../render/failure.ts';
import { createProgress } from '../render/progress.ts';
import { signingKeysFor } from '../signing-keys.ts';
import { upstreamDemands } from '../upstream.ts';
import { TOOL } from '../version.ts';
import { resolveProject } from './lock.ts';

export const pullCommand: CommandDefinition = {
  usage: 'pull',
  describe: 'fetch what the lock names into a signed bundle; only what is missing moves',
  options: [
    'file',
    'output',
    'key',
    'key-password-file',
    'unsigned',
    'always-bundle',
    'frozen',
    'keep',
    'rehash',
    'renew',
    'dry-run',
    'break-lock',
    'source-mirror',
    ...NETWORK,
  ],
  examples: [
    ['$0 pull --key release.key', 'lock what is not locked, fetch, sign: bundles/<name>'],
    ['$0 pull --key release.key --frozen', 'in CI: fail when the lock does not answer the manifest'],
    ['$0 pull --unsigned --dry-run', 'how many bytes would move'],
  ],
  async run(args, context) {
    requireKeyChoice(args);
    if (args.output === '-') throw new BundleError('E_USAGE', 'a bundle is a directory: --output wants its path, not "-"');
    const keep = numberFlag(args, 'keep', 1, 1000) ?? 2;
    const { openProject } = await import('../../lock/project.ts');
    const { pull } = await import('../../pull/pull.ts');
    const { lockTime } = await import('../../lock/lock-file.ts');
    const { createManifestReader } = await import('../../lock/resolve.ts');
    const client = await clientFor(args, context);
    const progress = createProgress(args, context);
    const done = new AbortController();
    try {
      const keys = signingKeysFor(args, context, AbortSignal.any([context.signal, done.signal]));
      if (context.stderrIsTerminal)
        await keys; // somebody may be typing the password
      else keys.catch(() => undefined); // thrown by whoever waits for them
      const project = await openProject(context.fs, {
        file: args.file,
        refreshLists: false,
        fetchText: (url, max) => client.fetchText(url, max, context.signal),
      });
      const demands = await upstreamDemands(project.manifest, args, context);
      const readManifest = createManifestReader(client, context.signal);
      const lock = await lockFor(args, context, client, project, readManifest);
      const result = await pull(
        {
          manifest: project.manifest,
          lock,
          directory: args.output ?? `bundles/${project.manifest.name}`,
          keys,
          keep,
          dryRun: args['dry-run'] ?? false,
          created: sourceDate(context) ?? (args.renew ? lockTime(context.now()) : undefined),
          tool: TOOL,
          breakLock: args['break-lock'] ?? false,
          rehash: args.rehash ?? false,
          renew: args.renew ?? false,
          alwaysBundle: args['always-bundle'] ?? false,
          upstream: demands,
        },
        { fs: context.fs, client, readManifest, report: progress.report, signal: context.signal, now: context.now },
      );
      progress.end();
      print(result, client.requests, args, context);
      return 0;
    } finally {
      done.abort(); // a program that was asked for its key, or to sign, when something else failed
      progress.end();
      await client.close();
    }
  },
};

function requireKeyChoice(args: Args): void {
  if (args.unsigned && args.key !== undefined) throw new BundleError('E_USAGE', '--unsigned and --key contradict each other');
  if (args.key !== undefined || args.unsigned || args['dry-run']) return;
  throw new BundleError('E_USAGE', 'no key to sign the bundle with', {
    hint: 'make one with "bundle keys generate -o release" and say --key release.key, or say --unsigned',
  });
}

/** The lock as it is when it answers the manifest, without a request; else completed and written, unless --frozen. */
async function lockFor(
  args: Args,
  context: Context,
  client: Awaited<ReturnType<typeof clientFor>>,
  project: Awaited<ReturnType<typeof import('../../lock/project.ts').openProject>>,
  readManifest: ManifestReader,
) {
  const { lockDifference } = await import('../../lock/lock.ts');
  const { writeLock } = await import('../../lock/project.ts');
  const { stale, extra } = lockDifference(project.manifest, project.lock);
  // A list behind a URL that the lock does not know would be asked for again by every pull.
  const unknownLists = JSON.stringify(project.lists) !== JSON.stringify(project.lock?.lists ?? []);
  if (project.lock !== undefined && stale.length === 0 && extra.length === 0 && !unknownLists) return project.lock;
  if (args.frozen) {
    const names = [
      ...stale.map((e) => `${e.where}: ${e.text} is not locked as asked`),
      ...extra.map((ref) => `${project.lockPath}: ${ref} is no longer in the manifest`),
      ...(unknownLists ? [`${project.lockPath}: its lists behind URLs are not those of the manifest`] : []),
    ];
    throw new BundleError(
      'E_LOCK_STALE',
      project.lock === undefined ? `${project.lockPath} does not exist` : names.slice(0, 20).join('\n'),
      { hint: 'run "bundle lock" and commit the file' },
    );
  }
  const { lock } = await resolveProject(args, context, client, project, 'none', true, readManifest);
  if (!args['dry-run']) await writeLock(context.fs, project.lockPath, lock);
  return lock;
}

/** https://reproducible-builds.org/specs/source-date-epoch/ @throws BundleError E_USAGE */
function sourceDate(context: Context): string | undefined {
  const text = context.env.SOURCE_DATE_EPOCH;
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,11}$/.test(text))
    throw new BundleError('E_USAGE', `SOURCE_DATE_EPOCH ${JSON.stringify(text)} is not a number of seconds`);
  return `${new Date(Number(text) * 1000).toISOString().slice(0, 19)}Z`;
}

function print(result: PullResult, requests: number, args: Args, context: Context): void {
  if (args.json) {
    printJson(context, { ...result, requests });
    return;
  }
  const { directory, sequence } = result;
  const moved = `${formatBytes(result.bytesFetched)} of ${formatBytes(result.bytesTotal)}`;
  const count = plural(result.items.length, 'reference');
  if (result.outcome === 'dry-run') {
    for (const item of result.items)
      context.stdout(`${item.outcome === 'present' ? 'present' : 'fetch  '}  ${item.ref}  ${formatBytes(item.bytes)}\n`);
    context.stdout(`would fetch ${moved} for ${count} into ${directory}\n${signaturesLine(result)}`);
    return;
  }
  const signed =
    result.signers.length === 0 ? 'UNSIGNED' : `signed by ${result.signers.map((keyid) => keyid.slice(0, 12)).join(', ')}`;
  if (result.outcome === 'unchanged')
    context.stdout(`${directory}: nothing new, generation ${sequence} stays: ${count}, ${plural(requests, 'request')}\n`);
  else context.stdout(`${directory}: generation ${sequence}, ${count}, fetched ${moved}, ${signed}\n`);
  context.stdout(signaturesLine(result));
}

/** What was found of upstream's signatures, where somebody asked or there are some, and how many are ours; parts that are zero are left out. */
function signaturesLine({ upstream, evidence, signed }: PullResult): string {
  const { verified, unsignedAllowed, notAsked } = upstream;
  const found = [
    [verified, 'verified'],
    [unsignedAllowed, 'allowed unsigned'],
    [notAsked, 'not asked'],
  ].flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}`]));
  const theirs = verified + unsignedAllowed + evidence === 0 ? [] : [`upstream's ${found.join(', ')}`];
  const ours = signed === 0 ? [] : [`ours on ${plural(signed, 'manifest')}`];
  const parts = [...theirs, ...ours];
  return parts.length === 0 ? '' : `  signatures: ${parts.join('; ')}\n`;
}
