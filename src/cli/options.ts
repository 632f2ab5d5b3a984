import type { Options } from 'yargs';

type Extra = Omit<Options, 'type'>;
const text = (describe: string, extra: Extra = {}) => ({ requiresArg: true, describe, ...extra, type: 'string' }) as const;
const list = (describe: string, extra: Extra = {}) =>
  ({ string: true, requiresArg: true, describe, ...extra, type: 'array' }) as const;
const flag = (describe: string, extra: Extra = {}) => ({ describe, ...extra, type: 'boolean' }) as const;

/** Every flag of every command, said once: a name means the same everywhere (design.md section 8). */
export const OPTIONS = {
  file: text('manifest (default: the only one in manifests/)', { alias: 'f' }),
  output: text('where to write', { alias: 'o' }),
  registry: list('registry to push to, host[:port][/path]; repeatable'),
  endpoint: list(
    'URL by which the nodes reach the registry, such as https://node-1:5000; repeatable (default: the registry itself)',
  ),
  'plain-http': list('host[:port] that speaks plain HTTP; repeatable'),
  'ca-file': list("PEM file with a CA to trust beside the system's; repeatable"),
  'certs-dir': text('directory <host[:port]>/{*.crt,*.cert,*.key} with CAs and client certificates per host, as Docker has it'),
  authfile: text('credentials file (default: where docker and podman login leave them)'),
  'allow-realm': list(
    'host that may get credentials as a token service although it shares no domain with its registry; repeatable',
  ),
  'source-mirror': list('fetch an origin through a proxy registry: docker.io=https://mirror.corp/v2/hub; repeatable'),
  concurrency: text('transfers at once (default 8)'),
  'per-host': text('transfers at once per host (default: the same)'),
  key: list('private key to sign with: FILE, env://NAME or "exec:PROGRAM ARG" (docs/signer-protocol.md); repeatable'),
  'key-password-file': text("file with the key's password (or BUNDLE_KEY_PASSWORD, COSIGN_PASSWORD, or a prompt)"),
  unsigned: flag('pull without signing; load will refuse it until it is signed'),
  'always-bundle': flag(
    'sign images as Sigstore bundles also where upstream has legacy signatures alone (cosign 3 then passes those over)',
  ),
  trust: list('public key (.pub) or directory of them that may sign; repeatable (default: /etc/bundle/trust)'),
  threshold: text('how many different keys must sign'),
  add: list('a key to trust, NAME=FILE.pub; repeatable'),
  remove: list('name of a key to trust no longer; repeatable'),
  revoke: flag('keep what is removed listed as revoked, so that it can not come back'),
  from: text('the key counts from this time on: 2027-01-01 or 2027-01-01T08:00:00Z'),
  until: text('the key counts up to this time'),
  'for-bundle': list('the key counts for bundles of this name alone; repeatable'),
  sign: text('rotation file to sign with --key'),
  apply: list('rotation file to put in force; repeatable'),
  signature: list('signature file that an approver made elsewhere; repeatable'),
  'insecure-skip-signature': flag('DANGEROUS: accept a bundle whoever made it; digests are still checked'),
  state: text('directory that remembers what was loaded (default: /var/lib/bundle)'),
  name: text('refuse any other bundle than this one'),
  bundle: text('directory of a bundle to take the origins and extra names from; its signature is checked'),
  origin: list('registry whose names pods use, such as docker.io; repeatable'),
  namespace: list('namespace that the policy is for; repeatable (default: all)'),
  deep: flag('show whose signatures and attestations each image carries, and verify those that can be'),
  'print-verify': flag('print the cosign commands that verify the images at the registry, and write nothing'),
  generation: text('a generation by its sequence number (default: the newest)'),
  keep: text('generations to keep, the newest included (default 2)'),
  renew: flag('make a new generation even when nothing changed, so that "expires" counts from now'),
  rehash: flag('hash blobs that are already there too; fetch damaged ones again'),
  frozen: flag('fail instead of changing the lock'),
  update: list('ask again what this reference means (all without a value); repeatable', { requiresArg: false }),
  check: flag('resolve one reference per origin through the mirrors before they are written, with ctr where there is one', {
    alias: 'prove',
  }),
  'exit-code': flag('exit 11 when there are differences'),
  'allow-rollback': flag('load a generation older than the target has'),
  'force-tags': flag("move tags that another bundle owns, and replace the site's own .sbom"),
  'break-lock': flag('take over a lock that another host left behind'),
  'registries-yaml': text('k3s mirror file to write (default: /etc/rancher/k3s/registries.yaml where that directory exists)'),
  'node-auth': text('file with user:password that the nodes log in with; never the credentials that push'),
  'node-ca-file': text('path on the nodes of the CA of the endpoints (default: --ca-file)'),
  'node-skip-verify': flag("nodes do not check the endpoint's certificate"),
  'hosts-toml': flag('print the hosts.toml files that k3s will derive'),
  'skip-mirrors': flag('do not touch registries.yaml'),
  ctr: text('the ctr command to prove with (default: "k3s ctr" or "ctr" where found)'),
  restart: flag('restart k3s or k3s-agent when the file changed; put the old file back if it does not come up'),
  force: flag('take our entries where others differ'),
  writable: text("directory of the site's own registry, made when absent; takes pushes and deletes"),
  listen: text('address to serve on (default 127.0.0.1:5000)'),
  tls: text('self: a CA of our own and a certificate under it, renewed by itself', { choices: ['self'] }),
  'tls-name': list('another name or address in the certificate of --tls self; repeatable'),
  'tls-dir': text('where --tls self keeps its CA (default: tls/ below the directory of --writable, or of --state)'),
  'tls-cert': text('PEM certificate chain to serve TLS with; read again when it changes'),
  'tls-key': text('PEM key of --tls-cert'),
  htpasswd: text('file with user:bcrypt lines; only they may log in. Read again when it changes'),
  'add-user': text('write this user with a password from standard input into --htpasswd, and end'),
  'password-file': text('file with the password of --add-user'),
  'anonymous-pull': flag('with --htpasswd: pulls need no login'),
  push: list('who may push and delete where: USER=PREFIX, * for everybody known or everywhere; repeatable (default: all known)'),
  'insecure-anonymous-push': flag('DANGEROUS: whoever reaches the address may push and delete'),
  'insecure-http': flag('DANGEROUS: passwords cross the network unencrypted'),
  'complete-only': flag('refuse a manifest whose blobs or children are not all there'),
  'min-free': text('refuse uploads that would leave less free: 10GiB, 5% (default: 5%, at most 10GiB)'),
  'gc-every': text('how often to remove what no manifest names: 24h (default), 0 for never'),
  'gc-grace': text('what was pushed within this time stays (default 24h)'),
  'delete-untagged-after': text(
    'remove manifests that no tag, index or subject keeps when they are so old: 30d (default: never)',
  ),
  'scrub-every': text('how often to hash everything that is stored: 14d, for example (default: never)'),
  'access-log': text('one JSON line per answer into this file, "-" for standard output'),
  metrics: text('address for Prometheus at /metrics, such as 127.0.0.1:5001 (default: none)'),
  grace: text('how long running transfers may go on after SIGTERM (default 30s)'),
  'dry-run': flag('say what would be moved or written, and do nothing'),
  json: flag('one JSON document on standard output at the end'),
  progress: text('auto, bars, plain, json or none, on standard error', { choices: ['auto', 'bars', 'plain', 'json', 'none'] }),
  quiet: flag('no progress and no notes: the result and what goes wrong alone', { alias: 'q' }),
  verbose: flag('more detail, and stack traces of unexpected errors', { alias: 'v' }),
} as const satisfies Record<string, Options>;

export type OptionName = keyof typeof OPTIONS;

type Value<N extends OptionName> = (typeof OPTIONS)[N] extends { type: 'boolean' }
  ? boolean
  : (typeof OPTIONS)[N] extends { type: 'array' }
    ? string[]
    : string;

export type Args = Readonly<{ [N in OptionName]?: Value<N> }> & Readonly<Record<string, unknown>>;

/** Every command has these. */
export const COMMON: readonly OptionName[] = ['json', 'progress', 'quiet', 'verbose'];
export const NETWORK: readonly OptionName[] = [
  'plain-http',
  'ca-file',
  'certs-dir',
  'authfile',
  'allow-realm',
  'concurrency',
  'per-host',
];
export const GATE: readonly OptionName[] = ['trust', 'insecure-skip-signature', 'name', 'generation'];
export const NODES: readonly OptionName[] = [
  'endpoint',
  'registries-yaml',
  'node-auth',
  'node-ca-file',
  'node-skip-verify',
  'force',
  'restart',
  'check',
  'ctr',
];
