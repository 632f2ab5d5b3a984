import { BundleError, type ErrorCode } from '../core/errors.ts';
import { isObject, type JsonObject, parseStrictJson } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';
import { strictBase64 } from './pem.ts';

/** A signature file of the right form over the right bytes; nothing in it is believed yet. */
export type StatementSignature = Readonly<{ json: JsonObject; hint: string }>;

/** Both spellings of v0.3 (sigstore/protobuf-specs, sigstore_bundle.proto). */
const MEDIA_TYPES = ['application/vnd.dev.sigstore.bundle.v0.3+json', 'application/vnd.dev.sigstore.bundle+json;version=0.3'];

/**
 * Everything about a signature file that needs no key: size, strict JSON, media type, the DSSE payload byte for byte the statement, its type,
 * exactly one signature, and that it is by a bare key. The library checks none of these so strictly: it takes unknown members, repairs base64,
 * and prefers one of several key materials silently.
 * @throws BundleError E_SIGNATURE when it is damaged or about other bytes; E_UNTRUSTED when it is of a kind that is not accepted yet
 */
export function parseStatementSignature(bytes: Uint8Array, statementBytes: Uint8Array, what: string): StatementSignature {
  if (bytes.length > LIMITS.signatureBytes) {
    throw refused(what, `has ${bytes.length} bytes, more than the limit of ${LIMITS.signatureBytes}`);
  }
  const json = parseStrictJson(bytes, what, 'E_SIGNATURE');
  if (!MEDIA_TYPES.includes(json.mediaType as string)) {
    throw refused(what, `has media type ${shown(json.mediaType)}, want ${MEDIA_TYPES[0]}`);
  }
  onlyMembers(json, ['mediaType', 'verificationMaterial', 'dsseEnvelope'], what);
  checkEnvelope(objectIn(json, 'dsseEnvelope', what), statementBytes, what);
  return { json, hint: hintOf(objectIn(json, 'verificationMaterial', what), what) };
}

function checkEnvelope(envelope: JsonObject, statementBytes: Uint8Array, what: string): void {
  onlyMembers(envelope, ['payload', 'payloadType', 'signatures'], what);
  if (envelope.payloadType !== MEDIA_TYPE.inToto) {
    throw refused(what, `has payload type ${shown(envelope.payloadType)}, want ${MEDIA_TYPE.inToto}`);
  }
  const { buffer, byteOffset, length } = statementBytes;
  if (length === 0 || envelope.payload !== Buffer.from(buffer, byteOffset, length).toString('base64')) {
    throw refused(
      what,
      'signs other bytes than this statement',
      'the statement or the signature was changed or swapped: fetch both again',
    );
  }
  const { signatures } = envelope;
  if (!Array.isArray(signatures) || signatures.length !== 1 || !isObject(signatures[0])) {
    throw refused(what, `has ${Array.isArray(signatures) ? signatures.length : 'no'} DSSE signatures, want exactly one`);
  }
  const [signature] = signatures as [JsonObject];
  onlyMembers(signature, ['sig', 'keyid'], what);
  const { sig, keyid = '' } = signature;
  const valid =
    typeof sig === 'string' && sig.length > 0 && sig.length <= LIMITS.signatureChars && strictBase64(sig) !== undefined;
  if (!valid || typeof keyid !== 'string') throw refused(what, 'its signature is not base64');
}

function hintOf(material: JsonObject, what: string): string {
  if ('certificate' in material || 'x509CertificateChain' in material) {
    throw refused(
      what,
      'is keyless (by a certificate), which is not accepted yet',
      'sign with a key: `bundle sign --key FILE`',
      'E_UNTRUSTED',
    );
  }
  onlyMembers(material, ['publicKey', 'tlogEntries', 'timestampVerificationData'], what);
  const key = objectIn(material, 'publicKey', what);
  // Here a key itself could stand (rawBytes): whoever writes the file would choose what it is checked with (cosign GHSA-fx35-mq7g-6g98).
  onlyMembers(key, ['hint'], what);
  const { hint = '' } = key;
  if (typeof hint !== 'string' || hint.length > LIMITS.keyHintChars) throw refused(what, 'its key hint is not a short string');
  refuseWitnesses(material, what);
  return hint;
}

/** A log entry or timestamp that nobody checks must not look as if somebody had (cosign CVE-2026-22703). */
function refuseWitnesses(material: JsonObject, what: string): void {
  const { tlogEntries = [], timestampVerificationData = {} } = material;
  const timestamps = isObject(timestampVerificationData) ? (timestampVerificationData.rfc3161Timestamps ?? []) : undefined;
  if (!Array.isArray(tlogEntries) || !Array.isArray(timestamps))
    throw refused(what, 'its log entries or timestamps are no lists');
  onlyMembers(timestampVerificationData as JsonObject, ['rfc3161Timestamps'], what);
  if (tlogEntries.length + timestamps.length === 0) return;
  const hint = 'sign without them (cosign: --use-signing-config=false --tlog-upload=false)';
  throw refused(what, 'carries a log entry or timestamp, which can not be checked yet', hint, 'E_UNTRUSTED');
}

function onlyMembers(json: JsonObject, allowed: readonly string[], what: string): void {
  const extra = Object.keys(json).find((name) => !allowed.includes(name));
  if (extra !== undefined) throw refused(what, `has a member ${shown(extra)} that does not belong there`);
}

function objectIn(json: JsonObject, name: string, what: string): JsonObject {
  const value = json[name];
  if (isObject(value)) return value;
  throw refused(what, `has no ${name}`);
}

const refused = (what: string, fault: string, hint?: string, code: ErrorCode = 'E_SIGNATURE'): BundleError =>
  new BundleError(code, `${what}: ${fault}`, { hint, origin: 'bundle' });

const shown = (value: unknown): string => (value === undefined ? 'none' : JSON.stringify(value).slice(0, 100));
