import { createHash } from 'node:crypto';
import type { Annotations } from '../core/descriptor.ts';
import { BundleError } from '../core/errors.ts';
import { isObject, type JsonObject, parseStrictJson, shown } from '../core/json.ts';
import { COSIGN_ANNOTATION } from '../cosign/media-types.ts';
import { pemBlocks, strictBase64 } from '../sign/pem.ts';

const MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle+json;version=0.1';

const refused = (what: string, why: string): BundleError => new BundleError('E_SIGNATURE', `${what}: ${why}`);

/** A layer of cosign's `.sig` as a Sigstore bundle (JSON): the payload is the message. @throws BundleError E_SIGNATURE */
export function legacySignatureBundle(payload: Uint8Array, annotations: Annotations, what: string): JsonObject {
  const signature = annotations[COSIGN_ANNOTATION.signature];
  if (signature === undefined || signature === '' || strictBase64(signature) === undefined)
    throw refused(what, `its annotation ${COSIGN_ANNOTATION.signature} is ${shown(signature)}, want a signature in base64`);
  // Of our own making: the library believes the digest in a bundle, and compares log entries with it.
  const digest = createHash('sha256').update(payload).digest('base64');
  return bundleOf({ messageSignature: { messageDigest: { algorithm: 'SHA2_256', digest }, signature } }, annotations, what);
}

/** A layer of cosign's `.att` (a DSSE envelope) as a Sigstore bundle (JSON). @throws BundleError E_SIGNATURE */
export function legacyAttestationBundle(envelope: Uint8Array, annotations: Annotations, what: string): JsonObject {
  return bundleOf({ dsseEnvelope: parseStrictJson(envelope, what, 'E_SIGNATURE') }, annotations, what);
}

function bundleOf(content: JsonObject, annotations: Annotations, what: string): JsonObject {
  const entry = annotation(annotations, COSIGN_ANNOTATION.bundle, what);
  const timestamp = annotation(annotations, COSIGN_ANNOTATION.timestamp, what);
  return {
    mediaType: MEDIA_TYPE,
    verificationMaterial: {
      ...signerOf(annotations, what),
      ...(entry === undefined ? {} : { tlogEntries: [logEntry(entry, what)] }),
      ...(timestamp === undefined
        ? {}
        : {
            timestampVerificationData: {
              rfc3161Timestamps: [{ signedTimestamp: text(timestamp, 'SignedRFC3161Timestamp', what) }],
            },
          }),
    },
    ...content,
  };
}

/** Only the leaf: the chain is the root's to say. The key that a log entry quotes is never used (cosign GHSA-fx35-mq7g-6g98). */
function signerOf(annotations: Annotations, what: string): JsonObject {
  const pem = annotations[COSIGN_ANNOTATION.certificate];
  if (pem === undefined || pem === '') return { publicKey: { hint: '' } };
  const [leaf] = pemBlocks(pem, `${what}: its certificate`, 'E_SIGNATURE');
  if (leaf?.label !== 'CERTIFICATE') throw refused(what, 'its certificate is a PEM block of another kind');
  return { x509CertificateChain: { certificates: [{ rawBytes: leaf.bytes.toString('base64') }] } };
}

/** Annotations may be there and empty: cosign writes them so. */
function annotation(annotations: Annotations, name: string, what: string): JsonObject | undefined {
  const value = annotations[name];
  return value === undefined || value === ''
    ? undefined
    : parseStrictJson(Buffer.from(value), `${what}: its annotation ${name}`, 'E_SIGNATURE');
}

/** cosign's form of an answer of Rekor (cosign pkg/cosign/bundle/rekor.go). */
function logEntry(entry: JsonObject, what: string): JsonObject {
  const { Payload: payload } = entry;
  if (!isObject(payload)) throw refused(what, 'its log entry has no payload');
  const body = strictBase64(text(payload, 'body', what));
  if (body === undefined) throw refused(what, 'its log entry is not base64');
  const { kind, apiVersion } = parseStrictJson(body, `${what}: its log entry`, 'E_SIGNATURE');
  const number = (name: string): string => {
    const value = payload[name];
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return String(value);
    throw refused(what, `its log entry has the ${name} ${shown(value)}`);
  };
  const logId = text(payload, 'logID', what);
  if (!/^[0-9a-f]{64}$/.test(logId)) throw refused(what, `its log entry has the logID ${shown(logId)}`);
  return {
    logIndex: number('logIndex'),
    logId: { keyId: Buffer.from(logId, 'hex').toString('base64') },
    kindVersion: { kind, version: apiVersion },
    integratedTime: number('integratedTime'),
    inclusionPromise: { signedEntryTimestamp: text(entry, 'SignedEntryTimestamp', what) },
    canonicalizedBody: payload.body,
  };
}

function text(json: JsonObject, name: string, what: string): string {
  const value = json[name];
  if (typeof value === 'string' && value !== '') return value;
  throw refused(what, `has no ${name}`);
}
