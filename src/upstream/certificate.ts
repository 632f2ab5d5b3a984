import type { X509Certificate } from '@sigstore/core';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

/** Who a certificate says that its holder is, and whose word that is. Believed only once the certificate is verified. */
export type CertificateClaims = Readonly<{ issuer: string; identity: string }>;

// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
const ISSUER_V2 = '1.3.6.1.4.1.57264.1.8';
const ISSUER_V1 = '1.3.6.1.4.1.57264.1.1';
const USER_NAME = '1.3.6.1.4.1.57264.1.7';
// RFC 5280 sections 4.2.1.6 and 4.2.1.12
const SUBJECT_ALTERNATIVE_NAME = '2.5.29.17';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
const OTHER_NAME = 0;
const MAIL = 1;
const URL_NAME = 6;

const refused = (what: string, why: string): BundleError => new BundleError('E_SIGNATURE', `${what}: its certificate ${why}`);

/**
 * Issuer and identity, out of the bytes. The library's own reading of them drops the eighth bit of every byte, by which `±` in a name becomes
 * `B1`, and takes the first of several names.
 * @throws BundleError E_SIGNATURE when it is not a certificate for one signer of code, as Fulcio issues them
 */
export function certificateClaims(certificate: X509Certificate, what: string): CertificateClaims {
  const usages = certificate.extension(EXTENDED_KEY_USAGE)?.valueObj.subs[0]?.subs ?? [];
  if (!usages.some((usage) => usage.toOID() === CODE_SIGNING)) throw refused(what, 'is not one for signing code');
  if (certificate.isCA) throw refused(what, 'is that of an authority');
  return { issuer: issuerOf(certificate, what), identity: identityOf(certificate, what) };
}

function issuerOf(certificate: X509Certificate, what: string): string {
  const wrapped = certificate.extension(ISSUER_V2)?.valueObj.subs[0];
  const bytes = wrapped === undefined ? certificate.extension(ISSUER_V1)?.value : wrapped.value;
  if (bytes === undefined) throw refused(what, 'names no issuer');
  return textOf(bytes, what);
}

function identityOf(certificate: X509Certificate, what: string): string {
  const names = certificate.extension(SUBJECT_ALTERNATIVE_NAME)?.valueObj.subs[0]?.subs ?? [];
  const [name] = names;
  if (name === undefined || names.length > 1) throw refused(what, `has ${names.length} names, want one`);
  const has = (tag: number): boolean => name.tag.isContextSpecific(tag);
  if (has(MAIL) || has(URL_NAME)) return textOf(name.value, what);
  const [type, value] = name.subs;
  if (has(OTHER_NAME) && type?.toOID() === USER_NAME && value?.subs[0] !== undefined) return textOf(value.subs[0].value, what);
  throw refused(what, 'has a name that is neither a mail address nor a URL nor a user name');
}

/** UTF-8, of which the ASCII of addresses and URLs is a part; a bad byte is no letter. */
function textOf(bytes: Uint8Array, what: string): string {
  if (bytes.length > LIMITS.identityChars) throw refused(what, `has a name or issuer of ${bytes.length} bytes`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw refused(what, 'has a name or issuer that is not text');
  }
}
