import { resolve } from 'node:path';
import type { VerifiedBundle } from '../../bundle/verify.ts';
import { BundleError } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { parseReference } from '../../core/reference.ts';
import type { Applied } from '../../k3s/apply.ts';
import type { Registries } from '../../k3s/registries.ts';
import type { Target } from '../../load/target.ts';
import { type CommandDefinition, numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { type Args, GATE, NODES } from '../options.ts';
import { DEFAULT_STATE, trustFor } from '../ports.ts';
import { proveMirrors } from '../prove-mirrors.ts';
import { printJson } from '../render/failure.ts';

export const mirrorsCommand: CommandDefinition = {
  usage: 'mirrors <bundle>',
  describe: 'write (or print) the k3s registries.yaml that sends every origin of the bundle to the registry',
  positionals: { bundle: { type: 'string', demandOption: true, describe: 'directory of the bundle' } },
  options: [
    'output',
    'registry',
    'state',
    'hosts-toml',
    'print-verify',
    'dry-run',
    'break-lock',
    'plain-http',
    'ca-file',
    ...GATE,
    ...NODES,
  ],
  examples: [
    ['$0 mirrors lumen --endpoint https://node-1:5000', 'merge into /etc/rancher/k3s/registries.yaml'],
    ['$0 mirrors lumen --endpoint https://node-1:5000 -o -', 'print it, for other nodes'],
    [
      '$0 mirrors lumen --endpoint https://node-1:5000 --check --restart',
      'resolve through it first, then restart k3s if it changed',
    ],
    [
      '$0 mirrors lumen --endpoint https://node-1:5000 --trust release.pub --print-verify',
      'how to verify the images with cosign',
    ],
  ],
  async run(args, context) {
    const { verifyStatement } = await import('../../bundle/verify.ts');
    const { newestSeen } = await import('../../load/state.ts');
    const { parseTarget } = await import('../../load/target.ts');
    const wanted = numberFlag(args, 'generation', 1, Number.MAX_SAFE_INTEGER);
    const trust = await trustFor(args, context);
    const generation = await verifyStatement(context.fs, String(args.bundle), {
      trust,
      // As in load: a clock that was set back makes no expired bundle young again.
      now: Math.max(context.now(), await newestSeen(context.fs, args.state ?? DEFAULT_STATE)),
      name: args.name,
      generation: wanted,
    });
    if (args['print-verify']) {
      const { printVerify } = await import('../print-verify.ts');
      await printVerify(args, context, generation);
      return 0;
    }
    const outcome = await writeMirrors(args, context, generation.generation, (args.registry ?? []).map(parseTarget));
    if (args.json) printJson(context, { ...outcome });
    else if (outcome.printed === undefined) context.stdout(`${outcome.summary}\n`);
    else context.stdout(outcome.printed);
    return 0;
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
  bundle: VerifiedBundle,
  targets: readonly Target[],
): Promise<MirrorsOutcome | undefined> {
  const here = args['registries-yaml'] !== undefined || (await context.fs.stat(K3S))?.kind === 'directory';
  if (here) return writeMirrors(args, context, bundle.generation, targets);
  const endpoint = endpointsOf(args, targets)[0];
  const trust = (args.trust ?? []).map((key) => ` --trust ${key}`).join('');
  return {
    file: undefined,
    changed: false,
    changes: [],
    summary: `no k3s here (${K3S} is missing); for the nodes: bundle mirrors ${bundle.directory} --endpoint ${endpoint}${trust} -o -`,
  };
}

async function writeMirrors(
  args: Args,
  context: Context,
  generation: Generation,
  targets: readonly Target[],
): Promise<MirrorsOutcome> {
  const { applyMirrors } = await import('../../k3s/apply.ts');
  const { renderHostsToml } = await import('../../k3s/hosts-toml.ts');
  const { name } = generation.statement.predicate;
  const desired = await desiredFor(args, context, generation, targets);
  const prove = args.check ? (registries: Registries) => proveMirrors(args, context, generation, registries) : undefined;
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
    if (args.output === undefined || args.output === '-' || args['dry-run'])
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
    breakForeign: args['break-lock'] ?? false,
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
  if ((await context.fs.stat(K3S))?.kind === 'directory') return (await import('../../k3s/install.ts')).REGISTRIES_FILE;
  throw new BundleError('E_USAGE', `no k3s here (${K3S} is missing) and no file named`, {
    hint: 'print it with -o -, or name the file with --registries-yaml',
  });
}

const isPlain = (args: Args, host: string): boolean => (args['plain-http'] ?? []).some((plain) => plain.toLowerCase() === host);

function endpointsOf(args: Args, targets: readonly Target[]): string[] {
  if (args.endpoint !== undefined && args.endpoint.length > 0) return args.endpoint;
  if (targets.length === 0)
    throw new BundleError('E_USAGE', 'the nodes need an address of the registry', { hint: 'add --endpoint https://node-1:5000' });
  return targets.map(
    (t) => `${isPlain(args, t.host) ? 'http' : 'https'}://${t.host}${t.prefix === '' ? '' : `/v2/${t.prefix.slice(0, -1)}`}`,
  );
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
  let text: string;
  try {
    text = (await context.fs.readUserFile(file, LIMITS.keyFileBytes)).toString('utf8').replace(/\r?\n$/, '');
  } catch (error) {
    throw new BundleError('E_USAGE', `--node-auth ${file}: can't be read: ${(error as Error).message}`, { cause: error });
  }
  const colon = text.indexOf(':');
  if (colon < 1) throw new BundleError('E_USAGE', `--node-auth ${file}: want user:password on one line`);
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

async function restart(applied: Applied): Promise<string> {
  const { restartK3s } = await import('../../k3s/restart.ts');
  const { createSpawn } = await import('../../k3s/spawn.ts');
  const { systemClock } = await import('../../registry/clock.ts');
  const clock = { now: systemClock.now, sleep: (ms: number) => systemClock.sleep(ms) };
  const result = await restartK3s({ spawn: createSpawn(), changed: applied.restartOwed, restore: applied.restore, clock });
  if (result.restarted) await applied.restarted();
  if (result.restarted) return `${result.unit} restarted and up`;
  if (result.why === 'absent') return 'not restarted: there is no k3s or k3s-agent service on this machine';
  if (result.why === 'not running')
    return `not restarted: ${result.unit}.service is not running; it reads the file when it starts`;
  return 'not restarted: nothing changed';
}
