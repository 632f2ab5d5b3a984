import { hostname } from 'node:os';
import { resolve } from 'node:path';
import type { OwnCertificate } from '../../serve/own-ca.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { isLoopback, type ListenAddress } from './listen-address.ts';

export type Announcement = Readonly<{
  /** What is served, for people. */
  what: string;
  /** The same for programs. */
  fields: Readonly<Record<string, unknown>>;
  url: string;
  metricsUrl: string | undefined;
  own: OwnCertificate | undefined;
  address: ListenAddress;
  writable: boolean;
  users: boolean;
  anonymousPull: boolean;
}>;

const NODE_CA = '/etc/rancher/k3s/bundle-registry-ca.crt';

/** One line of JSON, or what a person needs to bring the nodes here. */
export function announce(args: Args, context: Context, said: Announcement): void {
  const { url, metricsUrl, own, what, fields } = said;
  if (args.json) {
    const ca = own === undefined ? {} : { ca: { path: resolve(own.caFile), sha256: own.caSha256 } };
    context.stdout(
      `${JSON.stringify({ ok: true, url, ...(metricsUrl === undefined ? {} : { metrics: metricsUrl }), ...ca, ...fields })}\n`,
    );
    return;
  }
  context.stdout(`serving ${what} on ${url} (Ctrl-C ends it)\n`);
  if (metricsUrl !== undefined) context.stdout(`metrics at ${metricsUrl}\n`);
  if (own !== undefined && !args.quiet) context.stdout(forNodes(args, said, own));
}

/** The address by which others get here: the first name asked for, else the machine's. */
function endpointOf(args: Args, { address, url }: Announcement): string {
  const name = args['tls-name']?.[0] ?? (isLoopback(address) ? '127.0.0.1' : hostname());
  return `https://${name.includes(':') ? `[${name}]` : name}:${new URL(url).port || '443'}`;
}

function forNodes(args: Args, said: Announcement, own: OwnCertificate): string {
  const endpoint = endpointOf(args, said);
  const host = endpoint.slice('https://'.length);
  const { users, anonymousPull } = said;
  const login = users && !anonymousPull ? ['    auth: {username: …, password: …}        # or start with --anonymous-pull'] : [];
  const load = `bundle load BUNDLE --registry 127.0.0.1:${new URL(said.url).port} --endpoint ${endpoint} --ca-file ${resolve(own.caFile)} --node-ca-file ${NODE_CA}`;
  return [
    `CA         ${resolve(own.caFile)}`,
    `SHA-256    ${own.caSha256}`,
    `nodes      bring that file to ${NODE_CA} on each; "bundle load" and "bundle mirrors" write the rest:`,
    '  # /etc/rancher/k3s/registries.yaml',
    '  mirrors:',
    `    docker.io: {endpoint: ["${endpoint}/v2/docker.io"]}       # one line per origin`,
    `    "${host}": {endpoint: ["${endpoint}"]}`,
    '  configs:',
    `    "${host}":`,
    `      tls: {ca_file: ${NODE_CA}}`,
    ...login.map((line) => `  ${line}`),
    ...(said.writable ? [`load       ${load}`] : []),
    '',
  ].join('\n');
}
