import pLimit from 'p-limit';
import type { Descriptor } from '../core/descriptor.ts';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { formatReference, parseReference } from '../core/reference.ts';
import { policyFor, type TrustPolicies } from '../upstream/trust-policies.ts';
import type { Verdict } from '../upstream/verdict.ts';
import { verifyImage } from '../upstream/verify-image.ts';
import type { BlobStore } from './blob-store.ts';
import { evidenceOf } from './evidence-graphs.ts';
import type { Generation } from './generation.ts';
import { throwProblems, type VerifiedContent } from './verify-content.ts';

/** By reference, what upstream's signatures are worth here; and scopes that nothing in the bundle is under. */
export type UpstreamCheck = Readonly<{ verdicts: ReadonlyMap<string, Verdict>; unused: readonly string[] }>;

type Bundle = Readonly<{ generation: Generation; contents: readonly VerifiedContent[]; store: BlobStore }>;

/** While one waits for the medium another computes; the root is read once for all. */
const IMAGES_AT_ONCE = 8;

export const evidenceBlobs =
  (store: BlobStore) =>
  (blob: Descriptor): Promise<Uint8Array> =>
    store.readWhole(blob, LIMITS.evidenceBlobBytes);

/**
 * Verifies upstream's signatures once more, by the policies of this side and without a network: what was verified where the bundle was made is its word.
 * @returns what was found, and the scopes of trust.yaml under which the bundle has nothing: a slip of the pen looks like that
 * @throws BundleError E_UNSIGNED, E_UNTRUSTED, E_SIGNATURE with every image that fails; E_TRUST_FILE when the bundle brings no root to believe
 */
export async function requireUpstream(
  { generation, contents, store }: Bundle,
  policies: TrustPolicies,
  now: number,
): Promise<UpstreamCheck> {
  const root = policies.root === 'fromBundle' ? await rootOf(generation) : policies.root;
  const limit = pLimit(IMAGES_AT_ONCE);
  const outcomes = await limit.map(contents, async (verified): Promise<Verdict | BundleError> => {
    const { ref, digest } = verified.content;
    try {
      const policy = policyFor(policies, parseReference(ref));
      const request = { digest, ref, policy, evidence: evidenceOf(verified), readBlob: evidenceBlobs(store), root, now };
      return await verifyImage(request);
    } catch (error) {
      if (!isBundleError(error)) throw error;
      const { code, message, hint, detail } = error;
      return new BundleError(code, message, { hint, detail, origin: 'bundle', cause: error });
    }
  });
  const verdicts = new Map<string, Verdict>();
  const problems: BundleError[] = [];
  for (const [i, outcome] of outcomes.entries()) {
    if (isBundleError(outcome)) problems.push(outcome);
    else verdicts.set((contents[i] as VerifiedContent).content.ref, outcome);
  }
  throwProblems(problems, hintFor(problems, policies));
  return { verdicts, unused: unusedScopes(contents, policies) };
}

function unusedScopes(contents: readonly VerifiedContent[], { policies }: TrustPolicies): string[] {
  const names = contents.map(({ content }) => {
    const { origin, repository } = parseReference(content.ref);
    return `${formatReference({ origin, repository })}/`;
  });
  return [...policies.keys()].filter((scope) => scope !== '*' && !names.some((name) => name.startsWith(`${scope}/`)));
}

/** Without a root nothing keyless can be right, whatever the bundle has. */
function hintFor(problems: readonly BundleError[], { root }: TrustPolicies): string {
  if (root === undefined && problems.some((problem) => problem.code === 'E_TRUST_FILE'))
    return 'say in trust.yaml by which Sigstore root: trustedRoot: FILE, or fromBundle to believe the one that came along';
  return 'trust.yaml says what is demanded: get a bundle whose images are signed so, or change it knowingly';
}

/** `trustedRoot: fromBundle`: believed because whoever wrote trust.yaml says so. */
async function rootOf(generation: Generation) {
  const { parseSigstoreRoot } = await import('../upstream/sigstore-root.ts');
  if (generation.trustedRootBytes !== undefined)
    return parseSigstoreRoot(generation.trustedRootBytes, `generations/${generation.sequence}/trusted_root.json`);
  throw new BundleError('E_TRUST_FILE', 'trust.yaml believes the trusted root of the bundle, and this one brings none', {
    origin: 'bundle',
    hint: 'name a trusted_root.json under trustedRoot in trust.yaml, or let a newer version of bundle pull it',
  });
}
