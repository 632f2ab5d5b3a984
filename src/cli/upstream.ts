import { LIMITS } from '../core/limits.ts';
import { formatReference } from '../core/reference.ts';
import type { Manifest } from '../manifest/manifest.ts';
import type { VerifySetting } from '../manifest/verify-setting.ts';
import type { UpstreamDemands } from '../pull/pull.ts';
import type { VerifyPolicy } from '../upstream/policy.ts';
import type { SigstoreRoot } from '../upstream/sigstore-root.ts';
import type { Context } from './context.ts';
import type { Args } from './options.ts';

/** What the manifest demands of upstream's signatures, with keys and Sigstore root read. @throws BundleError E_TRUST_FILE */
export async function upstreamDemands(manifest: Manifest, args: Args, context: Context): Promise<UpstreamDemands> {
  const { loadPolicy, wantsSigstoreRoot } = await import('../upstream/policy.ts');
  const loaded = new Map<VerifySetting, VerifyPolicy>();
  const policies = new Map<string, VerifyPolicy>();
  for (const { ref, verify } of manifest.images) {
    if (verify === undefined) continue;
    const policy = loaded.get(verify) ?? (await loadPolicy(context.fs, verify));
    loaded.set(verify, policy);
    policies.set(formatReference(ref), policy);
  }
  if (![...loaded.values()].some(wantsSigstoreRoot)) return { policies };
  return { policies, root: await sigstoreRoot(manifest, args, context) };
}

const ROOT_HINT = 'name the trusted_root.json of your Sigstore under trustedRoot, from the folder of the manifest';

/** A root of one's own as it is; else the public Sigstore's, of today where it can be had. */
async function sigstoreRoot({ trustedRoot }: Manifest, args: Args, context: Context): Promise<SigstoreRoot> {
  const { parseSigstoreRoot, currentSigstoreRoot } = await import('../upstream/sigstore-root.ts');
  if (trustedRoot !== undefined) {
    const { readTrustFile } = await import('../upstream/read-trust-file.ts');
    const bytes = await readTrustFile(context.fs, trustedRoot, LIMITS.trustedRootBytes, ROOT_HINT);
    return parseSigstoreRoot(bytes, trustedRoot);
  }
  const { HOME, XDG_CACHE_HOME } = context.env;
  // An empty one means unset (XDG Base Directory Specification).
  const home = XDG_CACHE_HOME || (HOME ? `${HOME}/.cache` : undefined);
  const cacheDirectory = home === undefined ? undefined : `${home}/bundle/sigstore`;
  const { root, source, age, warning } = await currentSigstoreRoot({
    fs: context.fs,
    cacheDirectory,
    now: context.now(),
    retries: 1,
  });
  if (warning !== undefined) context.stderr(`warning: ${warning}\n`);
  else if (!args.quiet) context.stderr(`Sigstore root: ${source}, ${Math.floor(age / 3_600_000)} hours old\n`);
  return root;
}
