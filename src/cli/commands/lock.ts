import { BundleError } from '../../core/errors.ts';
import { formatReference, parseReference } from '../../core/reference.ts';
import type { LockOutcome, Moved } from '../../lock/lock.ts';
import type { ManifestReader } from '../../lock/resolve.ts';
import type { CommandDefinition } from '../command.ts';
import type { Context } from '../context.ts';
import { type Args, NETWORK } from '../options.ts';
import { clientFor, plural } from '../ports.ts';
import { printJson } from '../render/failure.ts';
import { createProgress } from '../render/progress.ts';

export const lockCommand: CommandDefinition = {
  usage: 'lock',
  describe: 'resolve every tag of the manifest to a digest and write manifests/<name>.lock.json',
  options: ['file', 'update', 'check', 'source-mirror', ...NETWORK],
  describes: {
    check: 'only say which tags moved (exit 11), writing nothing; signatures are not looked at, which --update does',
  },
  examples: [
    ['$0 lock', 'resolve what is not locked yet'],
    ['$0 lock --update', 'ask again for every tag, and for signatures'],
    ['$0 lock --check', 'say which tags moved (exit 11), one HEAD per tag'],
  ],
  async run(args, context) {
    const { openProject } = await import('../../lock/project.ts');
    const client = await clientFor(args, context);
    try {
      const project = await openProject(context.fs, {
        file: args.file,
        refreshLists: args.update !== undefined || args.check === true,
        fetchText: (url, max) => client.fetchText(url, max, context.signal),
      });
      return args.check ? await check(args, context, client, project) : await makeAndWrite(args, context, client, project);
    } finally {
      await client.close();
    }
  },
};

type Client = Awaited<ReturnType<typeof clientFor>>;
type Project = Awaited<ReturnType<typeof import('../../lock/project.ts').openProject>>;

async function check(args: Args, context: Context, client: Client, project: Project): Promise<number> {
  const { checkLock } = await import('../../lock/lock.ts');
  const moved = await checkLock(project.manifest, project.lock, client, context.signal);
  const shown = moved.map(({ error, ...m }) => ({ ...m, ...(error === undefined ? {} : { error: error.code }) }));
  const failed = moved.find((m) => m.error !== undefined)?.error;
  if (!args.json) printMoved(moved, project, context);
  if (failed !== undefined) {
    const { hint, origin, detail } = failed;
    throw new BundleError(failed.code, failed.message, { hint, origin, cause: failed, detail: { ...detail, moved: shown } });
  }
  if (args.json) printJson(context, { lock: project.lockPath, moved: shown });
  return moved.length === 0 ? 0 : 11;
}

function printMoved(all: readonly Moved[], project: Project, context: Context): void {
  for (const m of all)
    context.stdout(
      `${m.ref}\n  locked ${m.locked ?? '(not locked)'}\n  now    ${m.now ?? (m.error === undefined ? '(no longer in the manifest)' : m.error.message)}\n`,
    );
  const moved = all.filter((m) => m.error === undefined).length;
  context.stdout(
    moved === 0
      ? `nothing moved: ${plural(project.manifest.images.length, 'reference')}\n`
      : `${plural(moved, 'reference')} moved; "bundle lock --update" takes them over\n`,
  );
  // One HEAD for each tag can't tell, and a signature that upstream adds moves none.
  context.stdout('signatures were not looked at: "bundle lock --update" asks for them\n');
}

async function makeAndWrite(args: Args, context: Context, client: Client, project: Project): Promise<number> {
  const { writeLock } = await import('../../lock/project.ts');
  const { lock, outcomes } = await resolveProject(args, context, client, project, updateOf(args, project));
  const written = await writeLock(context.fs, project.lockPath, lock);
  const changed = outcomes.filter((o) => o.outcome !== 'kept' && o.outcome !== 'unchanged');
  if (args.json) printJson(context, { lock: project.lockPath, written, outcomes });
  else {
    for (const o of changed) context.stdout(`${lineOf(o)}\n`);
    context.stdout(
      written
        ? `${project.lockPath}: ${plural(lock.items.length, 'reference')}\n`
        : `${project.lockPath} is up to date: ${plural(lock.items.length, 'reference')}\n`,
    );
  }
  return 0;
}

const lineOf = ({ outcome, ref, was, now, evidence }: LockOutcome): string =>
  [
    `${outcome.padEnd(8)} ${ref}`,
    ...(was === undefined ? [] : [`${was} ->`]),
    ...(now === undefined ? [] : [now]),
    ...(outcome === 'removed' ? [] : [evidenceText(evidence)]),
  ].join('  ');

function evidenceText(evidence: number | undefined): string {
  if (evidence === undefined) return 'signatures not asked for';
  return evidence === 0 ? 'no signatures or referrers' : plural(evidence, 'signature or referrer', 'signatures and referrers');
}

function updateOf(args: Args, project: Project): 'none' | 'all' | Set<string> {
  if (args.update === undefined) return 'none';
  const named = args.update.filter((ref) => ref !== '');
  if (named.length === 0) return 'all';
  const known = new Set(project.manifest.images.map((entry) => formatReference(entry.ref)));
  return new Set(
    named.map((text) => {
      const ref = formatReference(parseReference(text));
      if (known.has(ref)) return ref;
      throw new BundleError('E_USAGE', `--update ${text}: the manifest has no ${ref}`);
    }),
  );
}

/** Resolves and throws when any reference fails: a lock is whole or not written. Shared with pull. */
export async function resolveProject(
  args: Args,
  context: Context,
  client: Client,
  project: Project,
  update: 'none' | 'all' | ReadonlySet<string>,
  announce = false,
  reader?: ManifestReader,
) {
  const { makeLock } = await import('../../lock/lock.ts');
  const { createConfigReader, createManifestReader } = await import('../../lock/resolve.ts');
  const progress = createProgress(args, context);
  progress.report({ type: 'phase', phase: 'resolve' });
  const result = await makeLock(
    { manifest: project.manifest, previous: project.lock, update, lists: project.lists },
    {
      client,
      readManifest: reader ?? createManifestReader(client, context.signal),
      readConfig: createConfigReader(client, context.signal),
      now: context.now,
      signal: context.signal,
      ...(announce ? { onItem: (o) => progress.report({ type: 'item', name: o.ref, outcome: o.outcome }) } : {}),
    },
  );
  progress.end();
  const failed = result.outcomes.filter((o) => o.error !== undefined);
  const first = failed[0];
  if (first?.error !== undefined) {
    // One cause, such as a host that is down, is said once.
    const message = [...new Set(failed.map((o) => o.error?.message))].join('\n');
    throw new BundleError(first.error.code, message, {
      hint: first.error.hint,
      origin: first.error.origin,
      cause: first.error,
      detail: {
        ...first.error.detail,
        failed: failed.map((o) => ({ ref: o.ref, code: o.error?.code, message: o.error?.message })),
      },
    });
  }
  return result;
}
