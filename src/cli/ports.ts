import { BundleError } from '../core/errors.ts';
import type { RegistryClient } from '../registry/client.ts';
import type { Trust } from '../sign/trust.ts';
import type { TrustPolicies } from '../upstream/trust-policies.ts';
import { numberFlag } from './command.ts';
import type { Context } from './context.ts';
import type { Args } from './options.ts';

export const DEFAULT_TRUST = '/etc/bundle/trust';
export const DEFAULT_STATE = '/var/lib/bundle';

/** Loaded here and not above: HTTP is most of the start-up time, and half of the commands need none. @throws BundleError E_USAGE */
export async function clientFor(args: Args, context: Context): Promise<RegistryClient> {
  const { createRegistryClient } = await import('../registry/client.ts');
  const { createCredentialStore } = await import('../registry/credentials.ts');
  const { parseSourceMirrors } = await import('../registry/endpoint.ts');
  const warn = (text: string): void => context.stderr(`warning: ${text}\n`);
  const perHost = numberFlag(args, 'per-host', 1, 256);
  const concurrency = numberFlag(args, 'concurrency', 1, 256);
  return createRegistryClient({
    credentials: createCredentialStore(context.fs, context.env, { authFile: args.authfile, warn }),
    environment: context.env,
    plainHttp: (args['plain-http'] ?? []).map((host) => host.toLowerCase()),
    caFiles: args['ca-file'] ?? [],
    certsDir: args['certs-dir'],
    allowRealms: args['allow-realm'] ?? [],
    sourceMirrors: parseSourceMirrors(args['source-mirror'] ?? []),
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(perHost === undefined ? {} : { perHost }),
    warn,
  });
}

/** Trust got beforehand; there is no default that skips it. @throws BundleError E_TRUST_FILE */
export async function trustFor(args: Args, context: Context): Promise<Trust | 'insecure-skip'> {
  if (args['insecure-skip-signature']) {
    if (args.trust !== undefined) throw new BundleError('E_USAGE', '--insecure-skip-signature and --trust contradict each other');
    context.stderr('WARNING: --insecure-skip-signature: whoever could write to the medium decides what is loaded\n');
    return 'insecure-skip';
  }
  const { loadTrust } = await import('../sign/trust.ts');
  const { requireTrustOutside } = await import('../sign/trust-place.ts');
  if (typeof args.bundle === 'string') requireTrustOutside(args.trust ?? [], args.bundle);
  if (args.trust !== undefined && args.trust.length > 0) return loadTrust(context.fs, args.trust);
  if ((await context.fs.stat(DEFAULT_TRUST)) === undefined) {
    throw new BundleError('E_TRUST_FILE', `no public key to check the bundle with: there is no ${DEFAULT_TRUST}`, {
      hint: `put the .pub file of "bundle keys generate" there by another way than the medium, or name it: --trust release.pub`,
    });
  }
  return loadTrust(context.fs, [DEFAULT_TRUST]);
}

/**
 * What `trust.yaml` beside the trusted keys demands of upstream's signatures, whether `--trust` names their folder or a key file in it.
 * @throws BundleError E_TRUST_FILE
 */
export async function policiesFor(args: Args, context: Context): Promise<TrustPolicies | undefined> {
  if (args['insecure-skip-signature']) return undefined;
  const { trustPolicyFile } = await import('../upstream/trust-policy-file.ts');
  const found: string[] = [];
  for (const folder of await trustFolders(args, context))
    if ((await trustPolicyFile(context.fs, folder)) !== undefined) found.push(folder);
  const [folder, second] = found;
  if (folder === undefined) return undefined;
  if (second !== undefined) {
    throw new BundleError('E_TRUST_FILE', `${found.join(' and ')} both have a trust.yaml`, {
      hint: 'make one of them: two could demand different things of one image',
    });
  }
  const { loadTrustPolicies } = await import('../upstream/trust-policies.ts'); // with the YAML reader: for who has one
  return loadTrustPolicies(context.fs, folder);
}

/** The folders of the trusted keys, each once. */
async function trustFolders(args: Args, { fs }: Context): Promise<Set<string>> {
  const { dirname, resolve } = await import('node:path');
  const folders = new Set<string>();
  for (const path of trustPaths(args)) {
    const { kind } = (await fs.stat(path)) ?? {};
    folders.add(resolve(kind === 'directory' ? path : dirname(path)));
  }
  return folders;
}

const trustPaths = ({ trust = [] }: Args): readonly string[] => (trust.length > 0 ? trust : [DEFAULT_TRUST]);

export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;
