import { BundleError, diskError } from '../../core/errors.ts';
import { parseOrigin, parseReference } from '../../core/reference.ts';
import type { PolicyFiles, PolicyRequest } from '../../policy/policy-request.ts';
import type { PublicKey } from '../../sign/public-key.ts';
import type { Trust } from '../../sign/trust.ts';
import type { CommandDefinition } from '../command.ts';
import type { Context } from '../context.ts';
import { namedRegistries } from '../named-registries.ts';
import type { Args } from '../options.ts';
import type { PolicyPlace } from '../policy-output.ts';
import { DEFAULT_TRUST, trustFor } from '../ports.ts';
import { printJson } from '../render/failure.ts';

type Make = (request: PolicyRequest) => PolicyFiles;

const CONSUMERS: Readonly<Record<string, () => Promise<Make>>> = {
  kyverno: async () => (await import('../../policy/kyverno.ts')).kyvernoPolicy,
  'policy-controller': async () => (await import('../../policy/policy-controller.ts')).policyControllerPolicy,
  gatekeeper: async () => (await import('../../policy/gatekeeper.ts')).gatekeeperPolicy,
  flux: async () => (await import('../../policy/flux.ts')).fluxPolicy,
  podman: async () => (await import('../../policy/podman.ts')).podmanPolicy,
};

export const policyCommand: CommandDefinition = {
  usage: 'policy <consumer>',
  describe:
    'print what makes a cluster accept only what came through: our keys, the names at the registry, the settings of an air gap',
  positionals: { consumer: { type: 'string', demandOption: true, choices: Object.keys(CONSUMERS), describe: 'who shall check' } },
  options: ['key', 'trust', 'endpoint', 'registry', 'plain-http', 'origin', 'bundle', 'namespace', 'output', 'force'],
  describes: {
    key: 'public key (.pub) whose signatures count; repeatable',
    trust: 'directory of public keys, or one, whose signatures count; repeatable (default: /etc/bundle/trust)',
    registry: 'registry as pods and nodes name it, host[:port][/path]; repeatable',
    endpoint: 'URL of the registry as pods and nodes name it, such as https://node-1:5000; repeatable',
    output: 'file to write, for podman a folder; "-" is standard output (default)',
    force: 'replace files of -o that are there and differ',
  },
  examples: [
    ['$0 policy kyverno --key release.pub --endpoint https://node-1:5000 --bundle lumen', 'check signatures of pods'],
    ['$0 policy gatekeeper --endpoint https://192.168.2.2:5000 --namespace lumen --namespace default', 'allow one registry'],
    [
      '$0 policy podman --key release.pub --endpoint https://node-1:5000 --bundle lumen -o /etc/containers',
      'policy.json and registries.d',
    ],
  ],
  async run(args, context) {
    const { normalizeRequest } = await import('../../policy/policy-request.ts');
    const consumer = String(args.consumer);
    const make = await (CONSUMERS[consumer] as () => Promise<Make>)();
    const files = make(normalizeRequest(await requestFrom(args, context, consumer)));
    const where = args.output === undefined || args.output === '-' ? undefined : args.output;
    const places = where === undefined ? [] : placesOf(where, files);
    const { writePolicy } = await import('../policy-output.ts');
    const written = await writePolicy(context.fs, places, args.force ?? false);
    if (args.json) printJson(context, { consumer, files: Object.fromEntries(files.map((f) => [f.name, f.text])), written });
    else if (where === undefined) context.stdout(files.map((file) => heading(file.name, files) + file.text).join(''));
    else context.stdout(places.map(({ path }) => (written.includes(path) ? `${path}\n` : `${path} is up to date\n`)).join(''));
    return 0;
  },
};

/** Only where there are several: each is then a file of its own. */
const heading = (name: string, files: PolicyFiles): string => (files.length === 1 ? '' : `# ${name}\n`);

/** One file goes where -o says; several go below it. */
const placesOf = (where: string, files: PolicyFiles): PolicyPlace[] =>
  files.map(({ name, text }) => ({ path: files.length === 1 ? where : `${where.replace(/\/+$/, '')}/${name}`, text }));

async function requestFrom(args: Args, context: Context, consumer: string): Promise<PolicyRequest> {
  const trust = await trustNamed(args, context, consumer);
  const given = (args.origin ?? []).map(parseOrigin);
  const bundled = args.bundle === undefined ? undefined : await namesIn(args.bundle, trust, context);
  return {
    keys: await keysThatCount(trust, bundled?.bundle, context),
    targets: await namedRegistries(args),
    origins: [...given, ...(bundled?.origins ?? [])],
    aliases: bundled?.aliases ?? [],
    namespaces: (args.namespace ?? []).map(namespaceName),
  };
}

/** --key and --trust add up here; Gatekeeper needs neither, unless a bundle's names are to be believed. @throws BundleError E_USAGE, E_TRUST_FILE */
async function trustNamed(args: Args, context: Context, consumer: string): Promise<Trust | undefined> {
  if (consumer === 'gatekeeper' && args.bundle === undefined) return undefined;
  const named = [...(args.key ?? []), ...(args.trust ?? [])];
  if (named.length === 0 && (await context.fs.stat(DEFAULT_TRUST)) === undefined) {
    const purpose = args.bundle === undefined ? 'signatures' : 'the bundle and signatures';
    throw new BundleError('E_USAGE', `policy ${consumer}: no public key to check ${purpose} with`, {
      hint: `add --key release.pub, or --trust DIR; there is no ${DEFAULT_TRUST}`,
    });
  }
  for (const path of args.key ?? []) await requirePublicKey(path, context);
  const found = await trustFor({ ...args, ...(named.length === 0 ? {} : { trust: named }) }, context);
  return found === 'insecure-skip' ? undefined : found;
}

/** The same flag names the private key everywhere else. @throws BundleError E_TRUST_FILE */
async function requirePublicKey(path: string, context: Context): Promise<void> {
  const stat = await context.fs.stat(path).catch((error: unknown) => {
    throw diskError(error, `reading --key ${path}`);
  });
  if (stat !== undefined) return;
  throw new BundleError('E_TRUST_FILE', `--key ${path}: no such file`, {
    hint: 'give the public key of who signs, such as the release.pub of "bundle keys generate -o release"',
  });
}

/** Revoked and expired keys stay out; one that is bound to bundles counts for those, or for all when no bundle is named. */
async function keysThatCount(trust: Trust | undefined, name: string | undefined, context: Context): Promise<PublicKey[]> {
  if (trust === undefined) return [];
  const { whyNotCounted } = await import('../../sign/trust-key.ts');
  const occasion = { name, now: context.now() };
  const reasons = trust.keys.map((key) => whyNotCounted(name === undefined ? { ...key, bundles: undefined } : key, occasion));
  const counting = trust.keys.filter((_key, i) => reasons[i] === undefined);
  if (counting.length > 0) return counting;
  throw new BundleError('E_TRUST_FILE', `none of the ${trust.keys.length} keys counts: ${reasons[0]}`);
}

type Bundled = Readonly<{ bundle: string }> & Pick<PolicyRequest, 'origins' | 'aliases'>;

/** From a statement that the keys signed: a name in a policy is a permission. */
async function namesIn(directory: string, trust: Trust | undefined, context: Context): Promise<Bundled> {
  const { verifyStatement } = await import('../../bundle/verify.ts');
  if (trust === undefined)
    throw new BundleError('E_USAGE', '--bundle needs a key to check it with', { hint: 'add --key release.pub' });
  const { generation } = await verifyStatement(context.fs, directory, { trust, now: context.now() });
  const { name, contents } = generation.statement.predicate;
  return {
    bundle: name,
    origins: contents.map((content) => parseReference(content.ref).origin),
    aliases: contents.flatMap(({ ref, aliases = [] }) => aliases.map((alias) => ({ name: alias, ref }))),
  };
}

/** RFC 1123 label, as Kubernetes wants it. */
function namespaceName(name: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return name;
  throw new BundleError('E_USAGE', `--namespace ${JSON.stringify(name)} is not a name of a namespace`);
}
