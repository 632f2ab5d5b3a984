import type { PolicyTarget } from '../policy/policy-request.ts';
import type { Args } from './options.ts';

/** The registries inside, as --endpoint (URLs) and --registry (host[:port][/path]) name them. @throws BundleError E_USAGE */
export async function namedRegistries(args: Args): Promise<PolicyTarget[]> {
  const { parseEndpoint } = await import('../k3s/endpoint.ts');
  const { parseTarget } = await import('../load/target.ts');
  const plain = new Set((args['plain-http'] ?? []).map((host) => host.toLowerCase()));
  const endpoints = (args.endpoint ?? []).map(parseEndpoint).map(({ scheme, host, path }) => ({
    host,
    prefix: path === '/v2' ? '' : `${path.slice('/v2/'.length)}/`,
    plain: scheme === 'http',
  }));
  const registries = (args.registry ?? []).map(parseTarget).map(({ host, prefix }) => ({ host, prefix, plain: plain.has(host) }));
  return [...endpoints, ...registries];
}
