import { algorithmOf, type Digest, hexOf } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { isObject, type JsonObject, parseStrictJson, shown } from '../core/json.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';

/** What an in-toto statement says, as far as it is understood without its predicate. Nothing of it is believed before the signature is. */
export type SignedStatement = Readonly<{ predicateType: string; subjects: readonly JsonObject[] }>;

/** https://github.com/in-toto/attestation: v0.1 in what cosign 2 attests, v1 in bundles. */
const TYPES = ['https://in-toto.io/Statement/v1', 'https://in-toto.io/Statement/v0.1'];

const refused = (what: string, why: string): BundleError => new BundleError('E_SIGNATURE', `${what}: its statement ${why}`);

/** The payload of a DSSE envelope. @throws BundleError E_SIGNATURE when it is no in-toto statement about something */
export function parseSignedStatement(payloadType: string, payload: Uint8Array, what: string): SignedStatement {
  if (payloadType !== MEDIA_TYPE.inToto) throw refused(what, `has payload type ${shown(payloadType)}, want ${MEDIA_TYPE.inToto}`);
  const json = parseStrictJson(payload, `${what}: its statement`, 'E_SIGNATURE');
  if (!TYPES.includes(json._type as string)) throw refused(what, `is of type ${shown(json._type)}, want ${TYPES[0]}`);
  if (typeof json.predicateType !== 'string') throw refused(what, 'has no predicate type');
  const { subject } = json;
  if (!Array.isArray(subject) || subject.length === 0 || !subject.every(isObject)) throw refused(what, 'is about nothing');
  return { predicateType: json.predicateType, subjects: subject };
}

/** True when one of the subjects is the artifact of this digest: the hash by which it was asked for, letter by letter. */
export const isAbout = ({ subjects }: SignedStatement, digest: Digest): boolean =>
  subjects.some((subject) => isObject(subject.digest) && subject.digest[algorithmOf(digest)] === hexOf(digest));
