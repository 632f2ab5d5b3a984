import { BundleError } from '../core/errors.ts';

type Env = Readonly<Record<string, string | undefined>>;

/**
 * The proxy that the environment names for addresses of this kind; NO_PROXY is not looked at here. As with curl and Go, HTTP_PROXY is not for https,
 * and an address without a scheme means http.
 * @throws BundleError E_USAGE, never with the value: it can hold a password
 */
export function proxyFor(url: URL, env: Env): URL | undefined {
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const value = env[name.toLowerCase()] || env[name];
  if (value === undefined || value === '') return undefined;
  const text = value.includes('://') ? value : `http://${value}`;
  const proxy = URL.canParse(text) ? new URL(text) : undefined;
  if (proxy?.protocol === 'http:' || proxy?.protocol === 'https:') return proxy;
  throw new BundleError('E_USAGE', `${name} does not hold the address of an http or https proxy, such as http://proxy.corp:3128`);
}

/** What a proxy itself answered instead of passing the request on; undefined when the error is another. */
export function proxyRefusal(error: unknown, url: URL, proxy: URL | undefined): BundleError | undefined {
  const status = proxy === undefined ? undefined : refusedStatus(error);
  if (proxy === undefined || status === undefined) return undefined;
  const options = { cause: error, detail: { status } };
  if (status === 407)
    return new BundleError('E_AUTH', `the proxy ${proxy.host} refuses its user and password, or wants some (HTTP 407)`, {
      ...options,
      hint: `write them into ${url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY'}: http://user:password@${proxy.host}`,
    });
  if (status >= 500)
    return new BundleError('E_NETWORK', `the proxy ${proxy.host} can't reach ${url.host} (HTTP ${status})`, options);
  return new BundleError('E_REGISTRY', `the proxy ${proxy.host} does not let us through to ${url.host} (HTTP ${status})`, {
    ...options,
    hint: `if ${url.hostname} is to be reached without it, name it in NO_PROXY`,
  });
}

/** undici has the status in words only: "Proxy response (403) !== 200 when HTTP Tunneling", "Proxy Authentication Required (407)". */
function refusedStatus(error: unknown, depth = 0): number | undefined {
  if (!(error instanceof Error) || depth > 5) return undefined;
  const found = /^Proxy (?:response|Authentication Required) \((\d{3})\)/.exec(error.message)?.[1];
  return found === undefined ? refusedStatus(error.cause, depth + 1) : Number(found);
}
