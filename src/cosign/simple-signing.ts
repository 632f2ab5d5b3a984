import { type Digest, isDigest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { isObject, type JsonObject, parseStrictJson, shown } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

/** The only kind of claim there is (containers/image, cosign): anything else is about something else. */
const TYPE = 'cosign container image signature';

/**
 * The bytes that a legacy signature signs: "this digest may go by this name" (cosign specs/SIGNATURE_SPEC.md, in the spelling of its code).
 * @param dockerReference with its tag, as users write it: containers/image compares it with the name that is pulled, cosign does not look
 */
export function encodeSimpleSigning(dockerReference: string, digest: Digest): Uint8Array {
  const critical = {
    identity: { 'docker-reference': dockerReference },
    image: { 'docker-manifest-digest': digest },
    type: TYPE,
  };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

export type SimpleSigning = Readonly<{
  /** What the signer calls the image. Older signers left it empty. */
  reference: string;
  digest: Digest;
}>;

/**
 * Reads what somebody signed. Names are taken in any case, as cosign wrote `Critical` and `Docker-manifest-digest` until 2021 and its reader (Go)
 * takes both; two that differ in case alone are refused, and so is anything in `critical` that we would have to understand and don't.
 * @throws BundleError E_SIGNATURE
 */
export function parseSimpleSigning(bytes: Uint8Array, what: string): SimpleSigning {
  if (bytes.length > LIMITS.simpleSigningBytes) {
    throw refused(what, `has ${bytes.length} bytes, more than the limit of ${LIMITS.simpleSigningBytes}`);
  }
  const whole = members(parseStrictJson(bytes, what, 'E_SIGNATURE'), ['critical'], ['optional'], what);
  const critical = members(whole.critical, ['identity', 'image', 'type'], [], `${what}: critical`);
  if (critical.type !== TYPE) throw refused(what, `is of type ${shown(critical.type)}, want ${shown(TYPE)}`);
  const identity = members(critical.identity, ['docker-reference'], [], `${what}: critical.identity`);
  const image = members(critical.image, ['docker-manifest-digest'], [], `${what}: critical.image`);
  const reference = identity['docker-reference'];
  if (typeof reference !== 'string') throw refused(what, `names ${shown(reference)}, want a reference`);
  const digest = image['docker-manifest-digest'];
  if (!isDigest(digest)) throw refused(what, `is about ${shown(digest)}, want a sha256 or sha512 digest`);
  return { reference, digest };
}

/** The members by their names in lower case: `needed` are all there, and nothing beside them and `allowed`. */
function members(value: unknown, needed: readonly string[], allowed: readonly string[], what: string): JsonObject {
  if (!isObject(value)) throw refused(what, `is ${shown(value)}, want an object`);
  const found = new Map<string, unknown>();
  for (const [key, member] of Object.entries(value)) {
    const name = key.toLowerCase();
    // The Kelvin sign and its like become ASCII letters in lower case, for Go too: not in any payload that was made in earnest.
    if (found.has(name) || !/^[a-z-]+$/i.test(key))
      throw refused(what, `has the member ${shown(key)}, which readers may take for another`);
    if (!needed.includes(name) && !allowed.includes(name)) throw refused(what, `has the unknown member ${shown(key)}`);
    found.set(name, member);
  }
  const missing = needed.find((name) => !found.has(name));
  if (missing !== undefined) throw refused(what, `has no ${shown(missing)}`);
  return Object.fromEntries(found);
}

const refused = (what: string, why: string): BundleError => new BundleError('E_SIGNATURE', `${what}: the signed payload ${why}`);
