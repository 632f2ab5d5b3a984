import { randomBytes } from 'node:crypto';
import { type Digest, digestOf } from '../core/digest.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { formatReference, type Reference } from '../core/reference.ts';
import { removeTree } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import { type HostEndpoint, hostDirectory, planHosts } from './hosts.ts';
import { mirrorOnlyToml } from './mirror-only-toml.ts';
import type { Registries } from './registries.ts';
import type { Spawn } from './spawn.ts';

/** One reference of an origin; `digest` is what its tag must mean at the target (`targetDigest`). */
export type CheckReference = Readonly<{ origin: string; repository: string; tag?: string; digest: Digest }>;

export type CheckFault = 'no mirror' | 'not in the mirror' | 'other digest' | 'not allowed' | 'unreachable';

export type CheckResult = Readonly<{
  /** As a pod would name it. */
  reference: string;
  by: 'tag' | 'digest';
  ok: boolean;
  fault?: CheckFault;
  /** One line for people. */
  detail?: string;
}>;

/**
 * HEAD as containerd sends it. `endpoint.config` says which CA and login the node would use.
 * `digest` is the Docker-Content-Digest, or of the body where a registry leaves that out.
 */
export type Head = (url: string, endpoint: HostEndpoint) => Promise<Readonly<{ status: number; digest: string | undefined }>>;

/** How to ask: through containerd's own resolver, or by HEAD. */
export type Asker = Readonly<
  | {
      kind: 'ctr';
      /** `['k3s', 'ctr']` or `['ctr']`: nothing but its resolver is used, no daemon is needed and nothing is stored. */
      command: readonly string[];
      spawn: Spawn;
      fs: FileSystem;
      /** Where a folder for hosts.toml files may be made; it is removed again. */
      temporaryDirectory: string;
    }
  | { kind: 'head'; head: Head }
>;

type Ask = (
  ref: Reference,
  endpoints: readonly HostEndpoint[],
) => Promise<Readonly<{ fault?: CheckFault; detail?: string; digest?: string }>>;

const CTR_MS = 60_000;

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim().slice(0, 500);

/** The next endpoint is asked when one fails, as containerd does; a 404 says more than the failure of another endpoint. */
const askByHead =
  (head: Head): Ask =>
  async (ref, endpoints) => {
    let last: { fault: CheckFault; detail: string } | undefined;
    for (const endpoint of endpoints) {
      // containerd core/remotes/docker/resolver.go: digests before tags, and the origin in "ns".
      const url = `${endpoint.url}/${ref.repository}/manifests/${ref.digest ?? ref.tag}?ns=${encodeURIComponent(ref.origin)}`;
      let found: { fault: CheckFault; detail: string };
      try {
        const { status, digest } = await head(url, endpoint);
        if (status === 200)
          return digest === undefined ? { fault: 'unreachable', detail: `${url}: no digest in the answer` } : { digest };
        const fault = status === 404 ? 'not in the mirror' : status === 401 || status === 403 ? 'not allowed' : 'unreachable';
        found = { fault, detail: `${url}: HTTP ${status}` };
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        const fault = isBundleError(error) && error.code === 'E_AUTH' ? 'not allowed' : 'unreachable';
        found = { fault, detail: oneLine(error.message) }; // names the address itself
      }
      if (last === undefined || (found.fault === 'not in the mirror' && last.fault !== found.fault)) last = found;
    }
    return last ?? { fault: 'no mirror', detail: 'no endpoint' };
  };

/** What ctr said, told apart: containerd's log lines name every host's answer, its last line only that of the last. */
function ctrFault(stderr: string): { fault: CheckFault; detail: string } {
  const detail = oneLine(stderr.trim().split('\n').at(-1) ?? '');
  if (/\b40[13]\b|unauthorized|authorization failed|denied/i.test(stderr)) return { fault: 'not allowed', detail };
  if (/: not found$|\b404\b/m.test(stderr)) return { fault: 'not in the mirror', detail };
  return { fault: 'unreachable', detail };
}

function askByCtr(asker: Extract<Asker, { kind: 'ctr' }>, hostsDir: string): Ask {
  return async (ref) => {
    const name = formatReference(ref);
    // fetch-object resolves and prints the manifest's bytes; the third argument is asked for and not used.
    const command = [...asker.command, 'content', 'fetch-object', '--hosts-dir', hostsDir, name, 'manifest'];
    const { status, stdout, stderr } = await asker.spawn(command, { timeoutMs: CTR_MS, maxBytes: LIMITS.ociManifestBytes });
    if (status === undefined) return { fault: 'unreachable', detail: `no answer within ${CTR_MS / 1000} s` };
    if (status !== 0) return ctrFault(stderr);
    return { digest: digestOf(stdout, ref.digest?.startsWith('sha512:') ? 'sha512' : 'sha256') };
  };
}

async function checkOne(
  ref: CheckReference,
  by: 'tag' | 'digest',
  endpoints: readonly HostEndpoint[],
  ask: Ask,
): Promise<CheckResult> {
  const { origin, repository, tag, digest } = ref;
  const asked: Reference = by === 'tag' && tag !== undefined ? { origin, repository, tag } : { origin, repository, digest };
  const result = { reference: formatReference(asked), by };
  if (endpoints.length === 0) {
    return { ...result, ok: false, fault: 'no mirror', detail: `registries.yaml has no usable mirror for ${origin}` };
  }
  const answer = await ask(asked, endpoints);
  if (answer.fault !== undefined) return { ...result, ok: false, fault: answer.fault, detail: answer.detail ?? '' };
  if (answer.digest === digest) return { ...result, ok: true };
  return { ...result, ok: false, fault: 'other digest', detail: `got ${answer.digest}, want ${digest}` };
}

/**
 * Asks for each reference by tag and by digest as a node with this registries.yaml would, at its mirrors only: what the registry itself
 * would answer after a mirror's failure does not count, and a 404 of the mirror is reported as such (field notes E4).
 * @throws BundleError E_NOT_FOUND when ctr can't be run, E_DISK
 */
export async function checkMirrors(
  request: Readonly<{ registries: Registries; references: readonly CheckReference[]; asker: Asker }>,
): Promise<CheckResult[]> {
  const { asker, references } = request;
  const plans = planHosts(request.registries);
  const endpointsOf = (origin: string): readonly HostEndpoint[] => plans.get(origin)?.endpoints ?? [];
  const checkAll = async (ask: Ask): Promise<CheckResult[]> => {
    const results: CheckResult[] = [];
    for (const ref of references) {
      for (const by of ref.tag === undefined ? (['digest'] as const) : (['tag', 'digest'] as const)) {
        results.push(await checkOne(ref, by, endpointsOf(ref.origin), ask));
      }
    }
    return results;
  };
  if (asker.kind === 'head') return checkAll(askByHead(asker.head));
  const { fs } = asker;
  const directory = `${asker.temporaryDirectory}/bundle-hosts-${randomBytes(6).toString('hex')}`;
  await fs.mkdir(directory);
  try {
    for (const origin of new Set(references.map((ref) => ref.origin))) {
      if (endpointsOf(origin).length === 0) continue;
      const folder = `${directory}/${hostDirectory(origin)}`;
      await fs.mkdir(folder);
      const handle = await fs.create(`${folder}/hosts.toml`, 0o600);
      try {
        await handle.write(Buffer.from(mirrorOnlyToml(endpointsOf(origin))));
      } finally {
        await handle.close();
      }
    }
    return await checkAll(askByCtr(asker, directory));
  } finally {
    await removeTree(fs, directory);
  }
}

/** The error for a check with failures, undefined when all went well. */
export function mirrorCheckError(results: readonly CheckResult[]): BundleError | undefined {
  const failed = results.filter(({ ok }) => !ok);
  if (failed.length === 0) return undefined;
  const lines = failed.slice(0, 10).map(({ reference, by, fault, detail }) => `${reference} by ${by}: ${fault} (${detail})`);
  if (failed.length > lines.length) lines.push(`and ${failed.length - lines.length} more`);
  return new BundleError(
    'E_MIRROR_CHECK',
    `${failed.length} of ${results.length} references did not resolve through the mirrors\n${lines.join('\n')}`,
    {
      origin: 'target',
      hint: failed.some(({ fault }) => fault === 'not in the mirror')
        ? 'load the bundle into this target first (bundle load)'
        : 'check the endpoint, its certificate authority and its login, then run bundle mirrors --check again',
      detail: { failed: failed.map(({ reference }) => reference) },
    },
  );
}
