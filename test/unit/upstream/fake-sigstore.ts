import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import type { Digest } from '../../../src/core/digest.ts';
import { hexOf } from '../../../src/core/digest.ts';
import { bits, der, explicit, int, octets, oid, seq, set, time, utf8, yes } from './der.ts';

/** A Sigstore of a test's own: authority, logs (Rekor v1 and v2) and timestamp authority, whose keys the test has, so that it can also lie with them. */

const sha256 = (...data: readonly (Uint8Array | string)[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of data) hash.update(part);
  return hash.digest();
};
const b64 = (bytes: Uint8Array | string): string => Buffer.from(bytes as Uint8Array).toString('base64');

export type Pair = Readonly<{ privateKey: KeyObject; publicKey: KeyObject; spki: Buffer }>;

export function ecPair(namedCurve = 'P-256'): Pair {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
  return { privateKey, publicKey, spki: publicKey.export({ format: 'der', type: 'spki' }) };
}

const ECDSA_SHA256 = seq(oid('1.2.840.10045.4.3.2'));
const SHA256 = seq(oid('2.16.840.1.101.3.4.2.1'));
const name = (text: string): Buffer => (text === '' ? seq() : seq(set(seq(oid('2.5.4.3'), utf8(text)))));

const extension = (id: string, value: Uint8Array, critical = false): Buffer =>
  seq(oid(id), ...(critical ? [yes()] : []), octets(value));

type CertificateSpec = Readonly<{
  serial: Buffer;
  subject: string;
  issuer: string;
  key: Buffer;
  signer: KeyObject;
  from: number;
  until: number;
  extensions: readonly Buffer[];
}>;

const newSerial = (): Buffer => Buffer.concat([Buffer.from([0x42]), randomBytes(15)]);

const toBeSigned = (spec: CertificateSpec): Buffer =>
  seq(
    explicit(0, int(2)),
    int(spec.serial),
    ECDSA_SHA256,
    name(spec.issuer),
    seq(time(spec.from), time(spec.until)),
    name(spec.subject),
    spec.key,
    explicit(3, seq(...spec.extensions)),
  );

function certificate(spec: CertificateSpec): Buffer {
  const tbs = toBeSigned(spec);
  return seq(tbs, ECDSA_SHA256, bits(sign('sha256', tbs, spec.signer)));
}

const uint = (bytes: number, value: number): Buffer => {
  const buffer = Buffer.alloc(bytes);
  buffer.writeUIntBE(value, Math.max(0, bytes - 6), Math.min(6, bytes));
  return buffer;
};

/** A log's promise to show the certificate (RFC 6962 sections 3.2 and 3.3), as an extension of it. */
function certificateTimestamp(spec: CertificateSpec, issuer: Buffer, log: Pair, at: number): Buffer {
  const tbs = toBeSigned(spec);
  const signed = Buffer.concat([uint(2, 0), uint(8, at), uint(2, 1), sha256(issuer), uint(3, tbs.length), tbs, uint(2, 0)]);
  const signature = sign('sha256', signed, log.privateKey);
  const sct = Buffer.concat([
    uint(1, 0),
    sha256(log.spki),
    uint(8, at),
    uint(2, 0),
    Buffer.from([4, 3]),
    uint(2, signature.length),
    signature,
  ]);
  return extension('1.3.6.1.4.1.11129.2.4.2', octets(Buffer.concat([uint(2, sct.length + 2), uint(2, sct.length), sct])));
}

const CA_EXTENSIONS = [extension('2.5.29.19', seq(yes()), true), extension('2.5.29.15', bits(Buffer.from([0x06]), 1), true)];
const usage = (id: string): Buffer => extension('2.5.29.37', seq(oid(id)));

export const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
export const mail = (text: string): Buffer => der(0x81, Buffer.from(text));
export const url = (text: string | Uint8Array): Buffer => der(0x86, Buffer.from(text as Uint8Array));

/** Fulcio's name for what is neither. */
export const utf8Name = (text: string): Buffer => der(0xa0, oid('1.3.6.1.4.1.57264.1.7'), explicit(0, utf8(text)));

const DAY = 86_400_000;
export const SIGNED_AT = Date.parse('2026-06-01T10:00:00Z');
export const ISSUER = 'https://token.example.test';
export const IDENTITY = 'https://forge.example.test/org/app/.github/workflows/release.yaml@refs/tags/v1.2.3';

export type LeafSpec = Partial<
  Readonly<{
    names: readonly Buffer[];
    issuer: Buffer;
    oldIssuer: string;
    usage: string;
    ca: boolean;
    from: number;
    until: number;
    curve: string;
    /** The log of certificates that has seen it. */
    ctlog: Pair;
  }>
>;
export type Leaf = Pair & Readonly<{ der: Buffer }>;
export type Json = Record<string, unknown>;
type Validity = Readonly<{ start?: string; end?: string }>;
type LogKind = 'rekor1' | 'rekor2';

export type FakeSigstore = ReturnType<typeof createFakeSigstore>;

export function createFakeSigstore() {
  const ca = ecPair();
  const tsa = ecPair();
  const logs = { rekor1: ecPair(), rekor2: ecPair() };
  const always = { from: SIGNED_AT - 1000 * DAY, until: SIGNED_AT + 1000 * DAY };
  const caCertificate = certificate({
    serial: newSerial(),
    subject: 'ca',
    issuer: 'ca',
    key: ca.spki,
    signer: ca.privateKey,
    ...always,
    extensions: CA_EXTENSIONS,
  });
  const tsaSerial = newSerial();
  const tsaCertificate = certificate({
    serial: tsaSerial,
    subject: 'tsa',
    issuer: 'ca',
    key: tsa.spki,
    signer: ca.privateKey,
    ...always,
    extensions: [usage('1.3.6.1.5.5.7.3.8')],
  });

  /** A certificate as Fulcio issues them, for ten minutes. */
  function leaf(spec: LeafSpec = {}): Leaf {
    const pair = ecPair(spec.curve);
    const issuer =
      spec.oldIssuer === undefined
        ? extension('1.3.6.1.4.1.57264.1.8', spec.issuer ?? utf8(ISSUER))
        : extension('1.3.6.1.4.1.57264.1.1', Buffer.from(spec.oldIssuer));
    const made: CertificateSpec = {
      serial: newSerial(),
      subject: '',
      issuer: 'ca',
      key: pair.spki,
      signer: ca.privateKey,
      from: spec.from ?? SIGNED_AT - 60_000,
      until: spec.until ?? SIGNED_AT + 540_000,
      extensions: [
        usage(spec.usage ?? CODE_SIGNING),
        extension('2.5.29.17', seq(...(spec.names ?? [url(IDENTITY)])), true),
        issuer,
        ...(spec.ca === true ? CA_EXTENSIONS : []),
      ],
    };
    const shown = spec.ctlog === undefined ? [] : [certificateTimestamp(made, ca.spki, spec.ctlog, made.from)];
    return { ...pair, der: certificate({ ...made, extensions: [...made.extensions, ...shown] }) };
  }

  /** A timestamp response (RFC 3161) over a signature. */
  function timestamp(signature: Uint8Array, at = SIGNED_AT, key = tsa.privateKey): Buffer {
    const info = seq(int(1), oid('1.3.6.1.4.1.57264.2'), seq(SHA256, octets(sha256(signature))), int(7), time(at));
    const attributes = Buffer.concat([
      seq(oid('1.2.840.113549.1.9.3'), set(oid('1.2.840.113549.1.9.16.1.4'))),
      seq(oid('1.2.840.113549.1.9.4'), set(octets(sha256(info)))),
    ]);
    const signer = seq(
      int(1),
      seq(name('ca'), int(tsaSerial)),
      SHA256,
      explicit(0, attributes),
      ECDSA_SHA256,
      octets(sign('sha256', set(attributes), key)),
    );
    const data = seq(int(3), set(SHA256), seq(oid('1.2.840.113549.1.9.16.1.4'), explicit(0, octets(info))), set(signer));
    return seq(seq(int(0)), seq(oid('1.2.840.113549.1.7.2'), explicit(0, data)));
  }

  /** An entry of one of the logs, as the only one in it. */
  function entry(body: Json, { log, at = SIGNED_AT, key }: { log: LogKind; at?: number; key?: KeyObject }): Json {
    const signer = key ?? logs[log].privateKey;
    const logId = sha256(logs[log].spki);
    const canonical = Buffer.from(JSON.stringify(body));
    const integratedTime = Math.floor(at / 1000);
    const origin = `${log}.example.test`;
    const note = `${origin}\n1\n${b64(sha256(Buffer.from([0]), canonical))}\n`;
    const signature = b64(Buffer.concat([logId.subarray(0, 4), sign('sha256', Buffer.from(note), signer)]));
    const promised = JSON.stringify({ body: b64(canonical), integratedTime, logID: logId.toString('hex'), logIndex: 0 });
    return {
      logIndex: '0',
      logId: { keyId: b64(logId) },
      kindVersion: { kind: body.kind, version: body.apiVersion },
      ...(log === 'rekor1'
        ? {
            integratedTime: String(integratedTime),
            inclusionPromise: { signedEntryTimestamp: b64(sign('sha256', Buffer.from(promised), signer)) },
          }
        : {}),
      inclusionProof: {
        logIndex: '0',
        rootHash: b64(sha256(Buffer.from([0]), canonical)),
        treeSize: '1',
        hashes: [],
        checkpoint: { envelope: `${note}\n\u2014 ${origin} ${signature}\n` },
      },
      canonicalizedBody: b64(canonical),
    };
  }

  /** The trusted root, open to any change. */
  function root(change: (root: RootJson) => void = () => {}): Buffer {
    const validFor: Validity = { start: new Date(always.from).toISOString() };
    const log = (kind: LogKind): LogJson => ({
      baseUrl: `https://${kind}.example.test`,
      hashAlgorithm: 'SHA2_256',
      publicKey: { rawBytes: b64(logs[kind].spki), keyDetails: 'PKIX_ECDSA_P256_SHA_256', validFor },
      logId: { keyId: b64(sha256(logs[kind].spki)) },
    });
    const authority = (...certificates: readonly Buffer[]): AuthorityJson => ({
      certChain: { certificates: certificates.map((each) => ({ rawBytes: b64(each) })) },
      validFor,
    });
    const json: RootJson = {
      mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
      tlogs: [log('rekor1'), log('rekor2')],
      certificateAuthorities: [authority(caCertificate)],
      ctlogs: [],
      timestampAuthorities: [authority(tsaCertificate, caCertificate)],
    };
    change(json);
    return Buffer.from(JSON.stringify(json));
  }

  /** A root that demands that certificates were shown in this log. */
  const rootWithCtlog = (log: Pair): Buffer =>
    root((json) => {
      const publicKey = { ...json.tlogs[0]?.publicKey, rawBytes: b64(log.spki) };
      json.ctlogs = [{ baseUrl: 'https://ct.example.test', publicKey, logId: { keyId: b64(sha256(log.spki)) } }];
    });

  return { leaf, timestamp, entry, root, rootWithCtlog };
}

export type LogJson = Json & { publicKey: Json & { validFor?: Validity } };
export type AuthorityJson = Json & { validFor?: Validity };
export type RootJson = {
  mediaType: string;
  tlogs: LogJson[];
  certificateAuthorities: AuthorityJson[];
  ctlogs: LogJson[];
  timestampAuthorities: AuthorityJson[];
} & Json;

export const SIGN_TYPE = 'https://sigstore.dev/cosign/sign/v1';

export const statement = (digest: Digest, predicateType = SIGN_TYPE): Json => ({
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ digest: { [digest.slice(0, 6)]: hexOf(digest) } }],
  predicateType,
  predicate: {},
});

/** DSSE pre-authentication encoding. */
export const pae = (payload: Uint8Array, type = 'application/vnd.in-toto+json'): Buffer =>
  Buffer.concat([Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `), payload]);

export const hashedRekord1 = (digest: Uint8Array, signature: Uint8Array): Json => ({
  apiVersion: '0.0.1',
  kind: 'hashedrekord',
  spec: {
    data: { hash: { algorithm: 'sha256', value: Buffer.from(digest).toString('hex') } },
    signature: { content: b64(signature), publicKey: { content: '' } },
  },
});

export const hashedRekord2 = (digest: Uint8Array, signature: Uint8Array): Json => ({
  apiVersion: '0.0.2',
  kind: 'hashedrekord',
  spec: { hashedRekordV002: { data: { algorithm: 'SHA2_256', digest: b64(digest) }, signature: { content: b64(signature) } } },
});

export const dsse1 = (payload: Uint8Array, signature: Uint8Array): Json => ({
  apiVersion: '0.0.1',
  kind: 'dsse',
  spec: {
    payloadHash: { algorithm: 'sha256', value: sha256(payload).toString('hex') },
    signatures: [{ signature: b64(signature), verifier: '' }],
  },
});

export type BundleSpec = Partial<
  Readonly<{
    leaf: Leaf;
    statement: Json | Uint8Array;
    payloadType: string;
    /** How it is witnessed: cosign 3 with Rekor v2 and a timestamp, or Rekor v1's promise, or a timestamp alone. */
    witness: 'rekor2' | 'rekor1' | 'timestamp' | 'none';
    at: number;
    version: '0.1' | '0.2' | '0.3' | 'v0.3';
    signature: Buffer;
  }>
>;
export type BundleJson = Json & {
  verificationMaterial: Json & { tlogEntries?: Json[]; timestampVerificationData?: { rfc3161Timestamps: Json[] } };
  dsseEnvelope: Json & { signatures: Json[] };
};

/** A keyless bundle as cosign makes them. */
export function keylessBundle(sigstore: FakeSigstore, digest: Digest, spec: BundleSpec = {}): BundleJson {
  const leaf = spec.leaf ?? sigstore.leaf();
  const at = spec.at ?? SIGNED_AT;
  const written = spec.statement ?? statement(digest);
  const payload = written instanceof Uint8Array ? Buffer.from(written) : Buffer.from(JSON.stringify(written));
  const data = pae(payload, spec.payloadType);
  const signature = spec.signature ?? sign('sha256', data, leaf.privateKey);
  const { witness = 'rekor2', version = 'v0.3' } = spec;
  const entries = {
    rekor2: () => [sigstore.entry(hashedRekord2(sha256(data), signature), { log: 'rekor2' })],
    rekor1: () => [sigstore.entry(dsse1(payload, signature), { log: 'rekor1', at })],
    timestamp: () => [],
    none: () => [],
  }[witness]();
  const stamped = witness === 'rekor2' || witness === 'timestamp';
  return {
    mediaType:
      version === 'v0.3'
        ? 'application/vnd.dev.sigstore.bundle.v0.3+json'
        : `application/vnd.dev.sigstore.bundle+json;version=${version}`,
    verificationMaterial: {
      ...(version === '0.1' || version === '0.2'
        ? { x509CertificateChain: { certificates: [{ rawBytes: b64(leaf.der) }] } }
        : { certificate: { rawBytes: b64(leaf.der) } }),
      tlogEntries: entries,
      ...(stamped
        ? { timestampVerificationData: { rfc3161Timestamps: [{ signedTimestamp: b64(sigstore.timestamp(signature, at)) }] } }
        : {}),
    },
    dsseEnvelope: {
      payload: b64(payload),
      payloadType: spec.payloadType ?? 'application/vnd.in-toto+json',
      signatures: [{ sig: b64(signature) }],
    },
  };
}
