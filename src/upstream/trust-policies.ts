import { isAbsolute, join } from 'node:path';
import * as z from 'zod';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { formatReference, isRepository, parseOrigin, type Reference } from '../core/reference.ts';
import type { FileSystem } from '../files/file-system.ts';
import { findings } from '../manifest/describe-issue.ts';
import { formatPath, problemsError } from '../manifest/problems.ts';
import { decodeText } from '../manifest/read-manifest.ts';
import { parseStrictYaml } from '../manifest/strict-yaml.ts';
import { pathFault, toVerifySetting, verifyKeysAt, verifySchema } from '../manifest/verify-setting.ts';
import { loadPolicy, type VerifyPolicy } from './policy.ts';
import { readTrustFile } from './read-trust-file.ts';
import { parseSigstoreRoot, type SigstoreRoot } from './sigstore-root.ts';
import { trustPolicyFile } from './trust-policy-file.ts';

/** What the receiving side demands of upstream's signatures: its own decision, whatever was verified where the bundle was made. */
export type TrustPolicies = Readonly<{
  /** By origin or repository prefix (`docker.io`, `quay.io/argoproj`), or `*` for all others. */
  policies: ReadonlyMap<string, VerifyPolicy>;
  /** `fromBundle`: the root that came along with the bundle is believed. */
  root?: SigstoreRoot | 'fromBundle';
}>;

const EVERYTHING = '*';
const FROM_BUNDLE = 'fromBundle';

/** The scope as references have it; undefined when it is none. */
function scopeOf(text: string): string | undefined {
  if (text === EVERYTHING) return text;
  const slash = text.indexOf('/');
  const repository = slash === -1 ? undefined : text.slice(slash + 1);
  if (repository !== undefined && !isRepository(repository)) return undefined;
  try {
    const origin = parseOrigin(slash === -1 ? text : text.slice(0, slash));
    return repository === undefined ? origin : `${origin}/${repository}`;
  } catch (error) {
    if (isBundleError(error)) return undefined;
    throw error;
  }
}

const trustSchema = z.strictObject({
  policies: z.record(z.string(), verifySchema).superRefine((policies, context) => {
    const first = new Map<string, string>();
    for (const text of Object.keys(policies)) {
      const scope = scopeOf(text);
      if (scope === undefined)
        context.addIssue({ code: 'custom', path: [text], message: 'is neither a registry, nor a registry and a path, nor "*"' });
      else if (first.has(scope))
        context.addIssue({ code: 'custom', path: [text], message: `means the same as ${JSON.stringify(first.get(scope))}` });
      else first.set(scope, text);
    }
    if (first.size > LIMITS.trustPolicies)
      context.addIssue({ code: 'custom', message: `has more than ${LIMITS.trustPolicies} entries` });
  }),
  trustedRoot: z
    .string()
    .superRefine((text, context) => {
      const fault = pathFault(text);
      if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
    })
    .optional(),
});

function keysAt(path: readonly PropertyKey[]): string[] {
  if (path.length === 0) return Object.keys(trustSchema.shape);
  return path.length === 1 ? [] : verifyKeysAt(path.slice(2));
}

/**
 * Reads `trust.yaml` beside the trusted keys, with the keys and the root that it names.
 * @returns undefined when there is none: nothing is demanded of upstream's signatures then
 * @throws BundleError E_TRUST_FILE
 */
export async function loadTrustPolicies(fs: FileSystem, directory: string): Promise<TrustPolicies | undefined> {
  const path = await trustPolicyFile(fs, directory);
  if (path === undefined) return undefined;
  try {
    return await parseTrustPolicies(fs, decodeText(await fs.readUserFile(path, LIMITS.manifestFileBytes), path), path, directory);
  } catch (error) {
    // Whatever keeps it from being read is a fault of trust: never a reason to go on without it.
    if (isBundleError(error) && error.code === 'E_TRUST_FILE') throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new BundleError('E_TRUST_FILE', why.startsWith(path) ? why : `${path}: can't be read: ${why}`, {
      cause: error,
      origin: 'host',
      hint: isBundleError(error) ? error.hint : undefined,
    });
  }
}

async function parseTrustPolicies(fs: FileSystem, text: string, path: string, directory: string): Promise<TrustPolicies> {
  const yaml = parseStrictYaml(text, path);
  const parsed = trustSchema.safeParse(yaml.value);
  if (!parsed.success) {
    const found = parsed.error.issues.flatMap((issue) => findings(issue, yaml.value, keysAt));
    throw problemsError(found.map(({ path: at, of, message }) => ({ where: yaml.where(at, of), path: formatPath(at), message })));
  }
  const { policies, trustedRoot } = parsed.data;
  const loaded = new Map<string, VerifyPolicy>();
  for (const [scope, written] of Object.entries(policies))
    loaded.set(scopeOf(scope) as string, await loadPolicy(fs, toVerifySetting(written, directory)));
  return { policies: loaded, ...(trustedRoot === undefined ? {} : { root: await loadRoot(fs, trustedRoot, directory) }) };
}

async function loadRoot(fs: FileSystem, written: string, directory: string): Promise<SigstoreRoot | 'fromBundle'> {
  if (written === FROM_BUNDLE) return FROM_BUNDLE;
  const path = isAbsolute(written) ? written : join(directory, written);
  const hint = 'name a trusted_root.json from the folder of trust.yaml, or fromBundle to believe the one that came along';
  return parseSigstoreRoot(await readTrustFile(fs, path, LIMITS.trustedRootBytes, hint), path);
}

/**
 * The policy of the longest scope that a reference is in, at path boundaries: `quay.io/argo` is not a scope of `quay.io/argoproj/x`.
 * @returns undefined when none is: nothing is demanded
 */
export function policyFor({ policies }: TrustPolicies, ref: Reference): VerifyPolicy | undefined {
  const { origin, repository } = ref;
  for (
    let scope = formatReference({ origin, repository });
    scope !== '';
    scope = scope.slice(0, Math.max(0, scope.lastIndexOf('/')))
  ) {
    const policy = policies.get(scope);
    if (policy !== undefined) return policy;
  }
  return policies.get(EVERYTHING);
}
