import { algorithmOf, type Digest } from '../core/digest.ts';
import { BundleError, type ErrorCode, isBundleError } from '../core/errors.ts';
import { type Evidence, evidenceKey } from '../core/evidence.ts';
import { byteOrder } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { isManifestType } from '../core/media-types.ts';
import { parseOciManifest } from '../core/oci-manifest.ts';
import type { Reference } from '../core/reference.ts';
import { BUNDLE_TYPE_PREFIX } from '../cosign/media-types.ts';
import type { RegistryClient } from '../registry/client.ts';
import { createEvidenceBudget, type ImageBudget, LEAVE_BEHIND } from './evidence-budget.ts';
import { evidenceTags } from './evidence-tags.ts';
import { readEvidence } from './read-evidence.ts';
import type { ManifestReader } from './resolve.ts';

/**
 * Everything that is said at the origin about these manifests, and about what says it. The first subject must be known to be there.
 * `known` is what an earlier look found: it need not be read again to know its size.
 */
export type EvidenceFinder = (
  repository: Pick<Reference, 'origin' | 'repository'>,
  subjects: readonly Digest[],
  known?: readonly Evidence[],
) => Promise<Evidence[]>;

/** Where something may be said about a manifest: as a referrer or under cosign's tags. */
type Where = 'everywhere' | 'referrers';
type Subject = Readonly<{ digest: Digest; where: Where }>;
/**
 * What a list or a tag names; not read yet. `where` undefined: nothing is said about it in turn. `mayBeGone`: the list is kept by clients, who go on
 * naming what was deleted; a registry's own list does not, nor does a tag that was there a moment ago.
 */
type Named = Readonly<{ pointer: Omit<Evidence, 'size'>; where: Where | undefined; mayBeGone: boolean }>;

type Repository = Readonly<{
  origin: string;
  repository: string;
  /** What was asked of each subject: images that share one share the answers. */
  answers: Map<string, Promise<readonly Named[]>>;
  /** Whether it has the referrers API, once somebody has asked. */
  api: { answer: Promise<boolean> | undefined };
}>;

/**
 * Finds by cosign's tags and by referrers (API or fallback tag), and what refers to those in turn. Per subject that is three HEADs and one GET, and
 * one GET per piece of evidence, whose size and digest are then those of bytes that came; what is known is asked for by HEAD, which Docker Hub does
 * not count. Each request takes a slot of the client's for itself, so the caller must hold none.
 *
 * Nothing is concluded from a refusal: only 404 (and, for the API, the answers of registries without it) means that there is none. What the API lists
 * must be there.
 * @throws BundleError (from the finder) E_AUTH, E_RATE_LIMIT, E_REGISTRY, E_NETWORK, E_OCI_MANIFEST, E_TOO_MANY_PAGES, E_LIMIT, …
 */
export function createEvidenceFinder(client: RegistryClient, read: ManifestReader, signal?: AbortSignal): EvidenceFinder {
  const repositories = new Map<string, Repository>();
  const budgetFor = createEvidenceBudget();
  return async ({ origin, repository: name }, subjects, known = []) => {
    const key = `${origin}/${name}`;
    const repository = repositories.get(key) ?? { origin, repository: name, answers: new Map(), api: { answer: undefined } };
    repositories.set(key, repository);
    try {
      return await walk(repository, subjects, known, { client, read, signal, budget: budgetFor(key, key) });
    } catch (error) {
      if (!isBundleError(error)) throw error;
      throw new BundleError(error.code, `looking for signatures and other referrers: ${error.message}`, {
        hint: hintFor(error),
        origin: error.origin,
        cause: error,
        detail: error.detail,
      });
    }
  };
}

/** A network that fails, or a limit on how often to ask, is no reason to leave signatures behind. */
const PASSING: readonly ErrorCode[] = ['E_NETWORK', 'E_TIMEOUT', 'E_TLS', 'E_RATE_LIMIT'];

function hintFor({ code, hint }: BundleError): string {
  if (code === 'E_LIMIT') return hint ?? LEAVE_BEHIND;
  const known = hint ?? "that they can't be listed does not mean that there are none; run the same command again";
  if (PASSING.includes(code)) return known;
  return `${known}; if this registry can't list them at all, say "evidence: none" for the image in the manifest`;
}

type Ports = Readonly<{ client: RegistryClient; read: ManifestReader; signal: AbortSignal | undefined; budget: ImageBudget }>;

/** Level by level, so that what an origin invents is counted before it is read. */
async function walk(
  repository: Repository,
  subjects: readonly Digest[],
  known: readonly Evidence[],
  ports: Ports,
): Promise<Evidence[]> {
  if (subjects.length > LIMITS.evidenceSubjects)
    throw tooMuch(repository, `${subjects.length} platforms of one image, more than ${LIMITS.evidenceSubjects}`);
  const before = new Map(known.map((e) => [evidenceKey(e), e]));
  const found = new Map<string, Evidence>();
  const seen = new Set<Digest>();
  let named = 0;
  const name = async (subject: Subject): Promise<readonly Named[]> => {
    const answer = await namedFor(repository, subject, ports);
    named += answer.length;
    if (named > LIMITS.itemEvidence) throw tooMuch(repository, `more than ${LIMITS.itemEvidence} of one image`);
    return answer;
  };
  let level = subjects.map((digest): Subject => ({ digest, where: 'everywhere' }));
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > LIMITS.referrerDepth) throw tooMuch(repository, `referrers of referrers, more than ${LIMITS.referrerDepth} deep`);
    const fresh = level.filter(({ digest }) => !seen.has(digest) && seen.add(digest));
    const lists = await Promise.all(fresh.map(name));
    const next: Subject[] = [];
    await Promise.all(
      lists.flat().map(async (one) => {
        const evidence = await factsOf(repository, one, before.get(evidenceKey(one.pointer)), ports);
        if (evidence === undefined) return;
        found.set(evidenceKey(evidence), evidence);
        if (one.where !== undefined) next.push({ digest: evidence.digest, where: one.where });
      }),
    );
    level = next;
  }
  return [...found.values()].sort((a, b) => byteOrder(evidenceKey(a), evidenceKey(b)));
}

const tooMuch = ({ origin, repository }: Repository, why: string): BundleError =>
  new BundleError('E_LIMIT', `${origin}/${repository}: ${why}`);

/** Whether asking again gave the same; both in the order that the finder gives. */
export function isSameEvidence(a: readonly Evidence[] | undefined, b: readonly Evidence[]): boolean {
  const text = (list: readonly Evidence[]): string => list.map((e) => `${evidenceKey(e)} ${e.mediaType} ${e.size}`).join('\n');
  return a !== undefined && text(a) === text(b);
}

/** Asked once for each subject in a run, also when it fails. */
function namedFor(repository: Repository, { digest, where }: Subject, ports: Ports): Promise<readonly Named[]> {
  const key = `${digest} ${where}`;
  const before = repository.answers.get(key);
  if (before !== undefined) return before;
  const tags = where === 'everywhere' ? evidenceTags(digest) : [];
  const pending = Promise.all([
    referrersOf(repository, digest, ports),
    ...tags.map((tag) => underTag(repository, digest, tag, ports)),
  ]).then((lists) => lists.flat());
  repository.answers.set(key, pending);
  return pending;
}

async function underTag({ origin, repository }: Repository, subject: Digest, tag: string, ports: Ports): Promise<Named[]> {
  const { client, signal } = ports;
  const head = await client.inSlot(origin, () => client.lookUp(origin, repository, tag, signal));
  if (head === undefined) return [];
  // What signs or attests is not signed in turn; a list of software is ("cosign sign --attachment sbom").
  const where = tag.endsWith('.sbom') ? 'everywhere' : undefined;
  return [{ pointer: { subject, tag, digest: head.digest, mediaType: head.mediaType }, where, mayBeGone: false }];
}

/**
 * By the API, or by the fallback tag where the repository has none. Whether it has is learned with the first subject and not for each: the first is the
 * root of an image, which is there, so that 404 can't mean that the subject is unknown.
 */
async function referrersOf({ origin, repository, api }: Repository, subject: Digest, ports: Ports): Promise<Named[]> {
  const { client, signal } = ports;
  const ask = () => client.inSlot(origin, () => client.listReferrers(origin, repository, subject, signal));
  const answer = async (): ReturnType<typeof ask> => {
    if (api.answer === undefined) {
      const first = ask();
      // sha512 may be refused with 400 where sha256 is not.
      if (algorithmOf(subject) === 'sha256')
        api.answer = first.then(
          (said) => said.api,
          () => true,
        );
      return first;
    }
    if (await api.answer) return ask();
    const tagged = client.inSlot(origin, () => client.listTaggedReferrers(origin, repository, subject, signal));
    return { api: false, descriptors: await tagged };
  };
  const listed = await answer();
  // What is no manifest can't refer to anything.
  return listed.descriptors
    .filter((d) => isManifestType(d.mediaType))
    .map(({ digest, mediaType, artifactType = '' }) => ({
      pointer: { subject, digest, mediaType },
      // A tag of cosign's for a Sigstore bundle would sign a signature: three requests for each, and nobody makes them.
      where: artifactType.startsWith(BUNDLE_TYPE_PREFIX) ? 'referrers' : 'everywhere',
      mayBeGone: !listed.api,
    }));
}

/** @returns undefined for what is listed and is not there, or is about something else */
async function factsOf(
  { origin, repository }: Repository,
  { pointer, mayBeGone }: Named,
  known: Evidence | undefined,
  { client, read, signal, budget }: Ports,
): Promise<Evidence | undefined> {
  const at = `${origin}/${repository}@${pointer.digest}`;
  try {
    if (known?.mediaType === pointer.mediaType) {
      budget.take(known.digest, known.size);
      // A tag was asked for a moment ago.
      if (pointer.tag !== undefined) return known;
      const head = await client.inSlot(origin, () => client.lookUp(origin, repository, pointer.digest, signal));
      if (head === undefined) throw new BundleError('E_NOT_FOUND', `${at} is listed as a referrer and is not there`);
      return known;
    }
    const manifest = await client.inSlot(origin, () => {
      // Others of this image may have been too large meanwhile.
      budget.check();
      return readEvidence(client, read, { origin, repository }, pointer, signal);
    });
    // Also what turns out to be about something else: it was read.
    budget.take(pointer.digest, manifest.bytes.length);
    const evidence = { ...pointer, size: manifest.bytes.length };
    if (pointer.tag !== undefined) return evidence;
    const parsed = parseOciManifest(manifest.bytes, manifest.mediaType, at);
    // A list under a tag may name anything.
    return parsed.subject?.digest === pointer.subject ? evidence : undefined;
  } catch (error) {
    if (mayBeGone && isBundleError(error) && error.code === 'E_NOT_FOUND') return undefined;
    throw error;
  }
}
