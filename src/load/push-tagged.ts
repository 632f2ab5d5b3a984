import type { CarriedEvidence } from '../bundle/verify-content.ts';
import { isBundleError } from '../core/errors.ts';
import { once } from '../core/once.ts';
import { type MergedLegacy, mergeLegacy, parseLegacy } from '../cosign/legacy.ts';
import type { FetchedManifest } from '../registry/manifests.ts';
import type { EvidencePlace } from './evidence-places.ts';
import { notFound, type PushContext, pushManifest, putTag, withBlobs } from './push.ts';
import { COMPLETE, inSlot, type PlaceOutcome, pushBlobs, pushUnderRoot, rootOf } from './push-carried.ts';

/**
 * cosign's tags. Lists of signatures are united with the target's, and what can't be united stays as it is, with a warning.
 * @throws BundleError of the client, and E_OCI_MANIFEST for what can't be read at the target
 */
export async function pushTagged(context: PushContext, place: EvidencePlace, tag: string): Promise<PlaceOutcome> {
  const { repository, wanted } = place;
  const plan = await inSlot(context, () => planFor(context, place, tag));
  if (plan.kind === 'complete') return COMPLETE;
  if (plan.kind === 'stays') return staysAsItIs(context, place, tag, plan.why);
  let bytes = 0;
  for (const carried of wanted) {
    // Where lists are united the manifest is a new one: of ours only the layers go.
    if (plan.kind === 'union') bytes += await pushBlobs(context, repository, carried);
    else {
      bytes += await pushUnderRoot(context, repository, carried);
      // Signatures of a list of software are pushed next, and refer to it by digest; those of a signature don't exist.
      if (isSbom(tag)) await pushManifest(context, repository, rootOf(carried));
    }
  }
  return { written: false, bytes, finish: () => inSlot(context, () => finishTag(context, place, tag)) };
}

const isSbom = (tag: string): boolean => tag.endsWith('.sbom');

function staysAsItIs({ target, ports }: PushContext, { repository }: EvidencePlace, tag: string, why: string): PlaceOutcome {
  ports.report({ type: 'warning', text: `${target.name}/${repository}:${tag} stays as it is: ${why}` });
  return COMPLETE;
}

/** Looked at again at the last moment: somebody may have signed meanwhile. @returns whether the tag moved */
async function finishTag(context: PushContext, place: EvidencePlace, tag: string): Promise<boolean> {
  const { ports, target } = context;
  const { repository, wanted } = place;
  const plan = await planFor(context, place, tag);
  if (plan.kind === 'complete') return false;
  if (plan.kind === 'stays') return staysAsItIs(context, place, tag, plan.why).written;
  const needed = wanted.flatMap(({ graph }) => graph.blobs);
  if (plan.kind === 'ours') {
    const { descriptor, bytes } = rootOf(wanted.at(-1) as CarriedEvidence);
    await withBlobs(context, repository, needed, () => putTag(context, repository, tag, { ...descriptor, bytes }));
    return true;
  }
  const { config, manifest } = plan.union;
  ports.onWrite();
  await ports.client.pushBlob(target.host, {
    repository,
    blob: { digest: config.digest, size: config.bytes.length },
    read: (start, end) => once(config.bytes.subarray(start, end)),
    // The manifest that names it follows at once.
    fresh: true,
    signal: ports.signal,
  });
  await withBlobs(context, repository, needed, () => putTag(context, repository, tag, manifest));
  return true;
}

/** What to do about a tag. `ours`: the manifest in the bundle goes under it; `union`: one that we make; `stays`: nothing, and a warning. */
type Plan =
  | Readonly<{ kind: 'complete' }>
  | Readonly<{ kind: 'ours' }>
  | Readonly<{ kind: 'union'; union: MergedLegacy }>
  | Readonly<{ kind: 'stays'; why: string }>;

/** Inside a slot. */
async function planFor(context: PushContext, { repository, wanted }: EvidencePlace, tag: string): Promise<Plan> {
  const { ports, target, forceTags } = context;
  const found = await ports.client.lookUp(target.host, repository, tag, ports.signal);
  if (isSbom(tag)) return sbomPlan(found, wanted, forceTags);
  if (found !== undefined && wanted.length === 1 && found.digest === wanted[0]?.evidence.digest) return { kind: 'complete' };
  try {
    const there = found && (await ports.client.getManifest(target.host, repository, tag, ports.signal).catch(notFound));
    return uniteWith(there, wanted);
  } catch (error) {
    // A later run would find it no shorter, and the images' tags would never move.
    if (!isBundleError(error) || error.code !== 'E_LIMIT') throw error;
    return { kind: 'stays', why: `it is full, and the bundle's are not added: ${error.message}` };
  }
}

/** One document and no list. A site's own is worth more to it than ours; what an earlier generation put there can't be told from it. */
function sbomPlan(found: Pick<FetchedManifest, 'digest'> | undefined, wanted: readonly CarriedEvidence[], force: boolean): Plan {
  if (found === undefined) return { kind: 'ours' };
  const isWanted = force
    ? found.digest === wanted.at(-1)?.evidence.digest
    : wanted.some((w) => w.evidence.digest === found.digest);
  if (isWanted) return { kind: 'complete' };
  return force ? { kind: 'ours' } : { kind: 'stays', why: 'the bundle has another one; --force-tags puts that in its place' };
}

const NO_LIST = 'there or in the bundle it is no list of signatures';

/** The target's first, and nothing is dropped. @throws BundleError E_LIMIT when it is or would be more than cosign reads */
function uniteWith(there: FetchedManifest | undefined, wanted: readonly CarriedEvidence[]): Plan {
  if (there === undefined && wanted.length === 1) return { kind: 'ours' };
  const ours = wanted.map((carried) => {
    const { descriptor, bytes } = rootOf(carried);
    return parseLegacy(bytes, descriptor.mediaType, descriptor.digest);
  });
  // What is no list can't be united with anything, on either side: what is there stays.
  const unmergeable = ours.some((list) => list === undefined);
  if (there === undefined && unmergeable) return { kind: 'ours' };
  const theirs = there && parseLegacy(there.bytes, there.mediaType, there.digest);
  if (unmergeable || (there !== undefined && theirs === undefined)) return { kind: 'stays', why: NO_LIST };
  const union = mergeLegacy(
    there,
    ours.flatMap((list) => list?.layers ?? []),
  );
  return union === undefined ? { kind: 'complete' } : { kind: 'union', union };
}
