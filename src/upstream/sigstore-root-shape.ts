import { BundleError } from '../core/errors.ts';
import { isObject, type JsonObject, shown } from '../core/json.ts';

/** sigstore_trustroot.proto, TrustedRoot. */
const MEDIA_TYPES = [
  'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
  'application/vnd.dev.sigstore.trustedroot+json;version=0.2',
  'application/vnd.dev.sigstore.trustedroot.v0.2+json',
];
const LISTS = ['tlogs', 'certificateAuthorities', 'ctlogs', 'timestampAuthorities'];

/**
 * What the library does not look at: it takes unknown members, and what is absent for empty, so that no list may hide behind a misspelt name. A
 * root without logs is one by which no log entry is demanded.
 * @throws BundleError E_TRUST_FILE
 */
export function checkRootShape(json: JsonObject, what: string): void {
  if (!MEDIA_TYPES.includes(json.mediaType as string))
    throw rootRefused(what, `has media type ${shown(json.mediaType)}, want ${MEDIA_TYPES[0]}`);
  const extra = Object.keys(json).find((name) => name !== 'mediaType' && !LISTS.includes(name));
  if (extra !== undefined) throw rootRefused(what, `has a member ${shown(extra)} that a trusted root of this version has not`);
  for (const name of LISTS) {
    const list = json[name] ?? [];
    if (!Array.isArray(list) || !list.every(isObject)) throw rootRefused(what, `"${name}" is not a list of objects`);
    for (const [i, item] of list.entries()) checkAuthority(item, `${what}: ${name}[${i}]`);
  }
}

/** Absent parts would be read as empty, and an absent end as none. */
function checkAuthority(item: JsonObject, what: string): void {
  const { publicKey, certChain } = item;
  if (isObject(publicKey)) {
    if (!isObject(item.logId) && !isObject(item.checkpointKeyId)) throw rootRefused(what, 'has no logId');
    if (typeof publicKey.rawBytes !== 'string') throw rootRefused(what, 'has a public key without bytes');
    checkValidity(publicKey.validFor, what);
    return;
  }
  const certificates = isObject(certChain) ? certChain.certificates : undefined;
  if (!Array.isArray(certificates) || certificates.length === 0)
    throw rootRefused(what, 'has neither a public key nor certificates');
  if (!certificates.every((each) => isObject(each) && typeof each.rawBytes === 'string'))
    throw rootRefused(what, 'has a certificate without bytes');
  checkValidity(item.validFor, what);
}

function checkValidity(validFor: unknown, what: string): void {
  if (validFor === undefined || validFor === null) return;
  if (!isObject(validFor)) throw rootRefused(what, '"validFor" is not an object');
  const extra = Object.keys(validFor).find((name) => name !== 'start' && name !== 'end');
  if (extra !== undefined) throw rootRefused(what, `"validFor" has a member ${shown(extra)}`);
  for (const time of [validFor.start, validFor.end])
    if (time !== undefined && (typeof time !== 'string' || Number.isNaN(Date.parse(time))))
      throw rootRefused(what, `${shown(time)} is not a time`);
}

export const rootRefused = (what: string, why: string, cause?: unknown): BundleError =>
  new BundleError('E_TRUST_FILE', `${what}: ${why}`, {
    cause,
    hint: 'want the trusted_root.json of a Sigstore, as `cosign trusted-root create` writes it',
  });
