import { resolve } from 'node:path';
import type { VerifiedBundle } from '../../bundle/verify.ts';
import type { Digest } from '../../core/digest.ts';
import { BundleError, isBundleError } from '../../core/errors.ts';
import { parseReference } from '../../core/reference.ts';
import type { Applied } from '../../k3s/apply.ts';
import type { Asker, CheckReference, Head } from '../../k3s/check.ts';
import type { Registries } from '../../k3s/registries.ts';
import type { Target } from '../../load/target.ts';
import type { RegistryClient } from '../../registry/client.ts';
import { type CommandDefinition, numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { type Args, GATE, NETWORK, NODES } from '../options.ts';
import { clientFor, DEFAULT_STATE, trustFor } from '../ports.ts';
import { printJson } from '../render/failure.ts';

export const mirrorsCommand: CommandDefinition = {
  usage: 'mirrors <bundle>',
  describe: 'write (or print) the k3s registries.yaml that sends every origin of the bundle to the registry',
  positionals: { bundle: { type: 'string', demandOption: true, describe: 'directory of the bundle' } },
  options: ['output', 'registry', 'state', 'hosts-toml', 'dry-run', ...GATE, ...NETWORK, ...NODES],
  examples: [
    ['$0 mirrors lumen --endpoint https://node-1:5000', 'merge into /etc/rancher/k3s/registries.yaml'],
    ['$0 mirrors lumen --endpoint https://node-1:5000 -o -', 'print it, for other nodes'],
    [
      '$0 mirrors lumen --endpoint https://node-1:5000 --check --restart',
      'resolve through it first, then restart k3s if it changed',
    ],
  ],
  async run(args, context) {
    const { verifyStatement } = await import('../../bundle/verify.ts');
    const { parseTarget } = await import('../../load/target.ts');
    const trust = await trustFor(args, context);
    const generation = await verifyStatement(context.fs, String(args.bundle), {
      trust,
      now: context.now(),
      name: args.name,
      generation: numberFlag(args, 'generation', 1, Number.MAX_SAFE_INTEGER),
    });
    const client = clientFor(args, context);
    try {
      const outcome = await writeMirrors(args, context, client, generation.generation, (args.registry ?? []).map(parseTarget));
      if (args.json) printJson(context, { ...outcome });
      else if (outcome.printed === undefined) context.stdout(`${outcome.summary}\n`);
      else context.stdout(outcome.printed);
      return 0;
    } finally {
      await client.close();
    }
  },
};

export type MirrorsOutcome = Readonly<{
  file: string | undefined;
  changed: boolean;
  changes: readonly string[];
  backup?: string;
  restarted?: string;
  printed?: string;
  hostsToml?: Record<string, string>;
  summary: string;
}>;
type Generation = VerifiedBundle['generation'];

const K3S = '/etc/rancher/k3s';

/** After a load: only where k3s lives here or a file was named; elsewhere one line says how. */
export async function mirrorsAfterLoad(
  args: Args,
  context: Context,
  client: RegistryClient,
  bundle: VerifiedBundle,
  targets: readonly Target[],
): Promise<MirrorsOutcome | undefined> {
  const here = args['registries-yaml'] !== undefined || (await context.fs.stat(K3S))?.kind === 'directory';
  if (here) return writeMirrors(args, context, client, bundle.generation, targets);
  const endpoint = endpointsOf(args, targets)[0];
  return {
    file: undefined,
    changed: false,
    changes: [],
    summary: `no k3s here (${K3S} is missing); for the nodes: bundle mirrors ${bundle.directory} --endpoint ${endpoint} -o -`,
  };
}

async function writeMirrors(
  args: Args,
  context: Context,
  client: RegistryClient,
  generation: Generation,
  targets: readonly Target[],
): Promise<MirrorsOutcome> {
  const { applyMirrors } = await import('../../k3s/apply.ts');
  const { renderHostsToml } = await import('../../k3s/hosts-toml.ts');
  const { name } = generation.statement.predicate;
  const desired = await desiredFor(args, context, generation, targets);
  const prove = args.check ? (registries: Registries) => proveMirrors(args, context, client, generation, registries) : undefined;
  if (args.output !== undefined || args['hosts-toml']) {
    const { mergeRegistries } = await import('../../k3s/merge.ts');
    const { parseRegistriesYaml } = await import('../../k3s/registries-yaml.ts');
    const { text } = mergeRegistries({ existing: undefined, file: 'registries.yaml', bundle: name, written: {}, desired });
    const { registries } = parseRegistriesYaml(text, 'registries.yaml');
    await prove?.(registries);
    const hosts = Object.fromEntries(renderHostsToml(registries));
    const printed = args['hosts-toml']
      ? Object.entries(hosts)
          .map(([host, toml]) => `# ${host}/hosts.toml\n${toml}\n`)
          .join('')
      : text;
    if (args.output === undefined || args.output === '-')
      return { file: undefined, changed: false, changes: [], printed, hostsToml: hosts, summary: '' };
    const { writeFileDurable } = await import('../../files/durable-write.ts');
    await writeFileDurable(context.fs, args.output, Buffer.from(printed), 0o600);
    return {
      file: args.output,
      changed: true,
      changes: [],
      summary: `${args.output}: written for ${desired.mirrors.size} registries`,
    };
  }
  const file = await targetFile(args, context);
  const stateRoot = args.state ?? DEFAULT_STATE;
  const applied = await applyMirrors(context.fs, {
    file,
    bundle: name,
    desired,
    stateRoot,
    force: args.force ?? false,
    dryRun: args['dry-run'] ?? false,
    ...(prove === undefined ? {} : { prove }),
  });
  for (const warning of applied.warnings) context.stderr(`warning: ${file}: ${warning.entry}: ${warning.message}\n`);
  if (applied.changed && !args.quiet) context.stderr(applied.diff);
  const restarted = args.restart && !args['dry-run'] ? await restart(applied) : undefined;
  const what = !applied.changed
    ? 'nothing to change'
    : args['dry-run']
      ? 'would change as shown'
      : `changed: ${applied.changes.join(', ')}`;
  const next =
    applied.changed && restarted === undefined && !args['dry-run']
      ? '\n  k3s reads it when it starts: systemctl restart k3s (or k3s-agent), or add --restart'
      : '';
  return {
    file,
    changed: applied.changed,
    changes: applied.changes,
    ...(applied.backup === undefined ? {} : { backup: applied.backup }),
    ...(restarted === undefined ? {} : { restarted }),
    summary: `${file}: ${what}${restarted === undefined ? '' : `; ${restarted}`}${next}`,
  };
}

async function targetFile(args: Args, context: Context): Promise<string> {
  if (args['registries-yaml'] !== undefined) return args['registries-yaml'];
  if ((await context.fs.stat(K3S))?.kind === 'directory') return `${K3S}/registries.yaml`;
  throw new BundleError('E_USAGE', `no k3s here (${K3S} is missing) and no file named`, {
    hint: 'print it with -o -, or name the file with --registries-yaml',
  });
}

const isPlain = (args: Args, host: string): boolean => (args['plain-http'] ?? []).includes(host);

function endpointsOf(args: Args, targets: readonly Target[]): string[] {
  if (args.endpoint !== undefined && args.endpoint.length > 0) return args.endpoint;
  if (targets.length === 0)
    throw new BundleError('E_USAGE', 'the nodes need an address of the registry', { hint: 'add --endpoint https://node-1:5000' });
  return targets.map((t) => `${isPlain(args, t.host) ? 'http' : 'https'}://${t.name}`);
}

async function desiredFor(args: Args, context: Context, generation: Generation, targets: readonly Target[]): Promise<Registries> {
  const { desiredMirrors } = await import('../../k3s/desired-mirrors.ts');
  const origins = [...new Set(generation.statement.predicate.contents.map((c) => parseReference(c.ref).origin))];
  const ca = args['node-ca-file'] ?? args['ca-file']?.[0];
  const nodeAuth = args['node-auth'] === undefined ? undefined : await readNodeAuth(context, args['node-auth']);
  const tls = {
    ...(ca === undefined ? {} : { caFile: resolve(ca) }),
    ...(args['node-skip-verify'] ? { insecureSkipVerify: true } : {}),
  };
  return desiredMirrors({
    origins,
    endpoints: endpointsOf(args, targets),
    tls,
    directNames: true,
    ...(nodeAuth === undefined ? {} : { nodeAuth }),
  });
}

async function readNodeAuth(context: Context, file: string): Promise<{ username: string; password: string }> {
  const text = (await context.fs.readUserFile(file, 64 * 1024)).toString('utf8').replace(/\r?\n$/, '');
  const colon = text.indexOf(':');
  if (colon < 1) throw new BundleError('E_USAGE', `--node-auth ${file}: want user:password on one line`);
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** One reference per origin is enough to know that the way there is right. @throws BundleError E_MIRROR_CHECK */
async function proveMirrors(
  args: Args,
  context: Context,
  client: RegistryClient,
  generation: Generation,
  registries: Registries,
): Promise<void> {
  const { checkMirrors, mirrorCheckError } = await import('../../k3s/check.ts');
  const references = new Map<string, CheckReference>();
  for (const c of generation.statement.predicate.contents) {
    const { origin, repository, tag } = parseReference(c.ref);
    if (references.get(origin)?.tag === undefined)
      references.set(origin, { origin, repository, ...(tag === undefined ? {} : { tag }), digest: c.targetDigest });
  }
  const results = await checkMirrors({
    registries,
    references: [...references.values()],
    asker: await askerFor(args, context, client),
  });
  for (const r of results)
    if (!args.quiet)
      context.stderr(
        `  ${r.ok ? 'resolves' : 'FAILS   '} ${r.reference} by ${r.by}${r.detail === undefined ? '' : `  (${r.detail})`}\n`,
      );
  const error = mirrorCheckError(results);
  if (error !== undefined) throw error;
}

async function askerFor(args: Args, context: Context, client: RegistryClient): Promise<Asker> {
  const { createSpawn } = await import('../../k3s/spawn.ts');
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
  return { kind: 'head', head: headThrough(client) };
}

/** The request that containerd would make, by our own client: `<endpoint>/<repository>/manifests/<reference>`. */
const headThrough =
  (client: RegistryClient): Head =>
  async (url) => {
    const { host, pathname } = new URL(url);
    const [, path = '', reference = ''] = /^\/v2\/(.+)\/manifests\/([^/]+)$/.exec(decodeURIComponent(pathname)) ?? [];
    try {
      const head = await client.headManifest(host, path, reference);
      const digest: Digest = head?.digest ?? (await client.getManifest(host, path, reference)).digest;
      return { status: 200, digest };
    } catch (error) {
      if (!isBundleError(error) || typeof error.detail.status !== 'number') throw error;
      return { status: error.detail.status, digest: undefined };
    }
  };

async function restart(applied: Applied): Promise<string> {
  const { restartK3s } = await import('../../k3s/restart.ts');
  const { createSpawn } = await import('../../k3s/spawn.ts');
  const { systemClock } = await import('../../registry/clock.ts');
  const clock = { now: systemClock.now, sleep: (ms: number) => systemClock.sleep(ms) };
  const result = await restartK3s({ spawn: createSpawn(), changed: applied.restartOwed, restore: applied.restore, clock });
  if (result.restarted) await applied.restarted();
  if (result.restarted) return `${result.unit} restarted and up`;
  return result.why === 'not running' ? 'no k3s is running here' : 'not restarted: nothing changed';
}
