import { BundleError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { distinctKeys, type PublicKey, shortKeyid, toKeyObject } from './public-key.ts';
import { parseStatementSignature, type StatementSignature } from './signature-shape.ts';
import { assertTrust, type Trust } from './trust.ts';
import { countingKeyids, keyLabel, type Occasion, type TrustedKey, whyNotCounted } from './trust-key.ts';

/** One signature file as found beside the statement. */
export type SignatureFile = Readonly<{ name: string; bytes: Uint8Array }>;
export type RefusedSignature = Readonly<{ name: string; code: 'E_SIGNATURE' | 'E_UNTRUSTED'; reason: string }>;
/** `signers`: the distinct keys (keyids, sorted) whose signatures verified and count. */
export type SignatureCount = Readonly<{ signers: readonly string[]; refused: readonly RefusedSignature[] }>;
/** `name`: of the bundle that the statement says it is, undefined for a rotation; `now`: when it is checked. */
export type Signed = Occasion &
  Readonly<{
    statementBytes: Uint8Array;
    signatures: readonly SignatureFile[];
    trust: Pick<Trust, 'keys' | 'threshold'>;
  }>;

/**
 * Checks one signature file over exactly these statement bytes and says which of `keys` made it. What the statement says is not looked at.
 * @returns the keyid
 * @throws BundleError E_SIGNATURE when the file is damaged, about other bytes, or claims one of `keys` and does not verify; E_UNTRUSTED when it
 * is by none of `keys` or of a kind that is not accepted
 */
export async function verifyStatementSignature(
  bundleBytes: Uint8Array,
  statementBytes: Uint8Array,
  keys: readonly PublicKey[],
  what = 'the signature',
): Promise<string> {
  const signature = parseStatementSignature(bundleBytes, statementBytes, what);
  const hinted = keys.find((key) => key.hint === signature.hint);
  // The hint is the file's own claim: it decides which key is tried first and what is said on failure, nothing else.
  const candidates = distinctKeys(hinted === undefined ? keys : [hinted, ...keys]);
  let cause: unknown;
  for (const key of candidates) {
    const failure = await verifyWith(signature, key);
    if (failure === undefined) return key.keyid;
    cause ??= failure;
  }
  if (hinted !== undefined) {
    throw new BundleError(
      'E_SIGNATURE',
      `${what}: it names the trusted key ${shortKeyid(hinted.keyid)} but does not verify with it`,
      {
        cause,
        origin: 'bundle',
        hint: 'the file was changed, or the key that signed is not the one it names: fetch it again or sign again',
      },
    );
  }
  throw new BundleError('E_UNTRUSTED', `${what}: made by none of the ${candidates.length} trusted keys`, {
    cause,
    origin: 'bundle',
  });
}

/** undefined = verified. Whatever the library throws, TypeErrors too, is a refusal. */
async function verifyWith(signature: StatementSignature, key: PublicKey): Promise<unknown> {
  const { bundleFromJSON } = await import('@sigstore/bundle');
  const { toSignedEntity, toTrustMaterial, Verifier } = await import('@sigstore/verify');
  try {
    const root = { mediaType: '', tlogs: [], ctlogs: [], certificateAuthorities: [], timestampAuthorities: [] };
    const material = toTrustMaterial(root, () => ({ publicKey: toKeyObject(key), validFor: () => true }));
    // Our key is the whole trust: no log, no certificate and no timestamp is demanded (and signature-shape.ts lets none in).
    const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
    verifier.verify(toSignedEntity(bundleFromJSON(signature.json)));
    return undefined;
  } catch (error) {
    return error ?? new Error('unknown failure');
  }
}

/**
 * Checks every signature file and counts distinct keys: the same signature twice, or one key under two names or hints, is one signer.
 * A file named after a trusted key that does not verify counts as that key's broken signature, whatever hint it carries. A good signature by a key that
 * is revoked, out of its time or bound to other bundles is whole, but by nobody who counts here: E_UNTRUSTED, with the reason.
 * @throws BundleError E_TRUST_FILE when the trust is unusable; E_LIMIT when there are too many files
 */
export async function countTrustedSignatures({ statementBytes, signatures, trust, name, now }: Signed): Promise<SignatureCount> {
  assertTrust(trust);
  if (signatures.length > LIMITS.signatureFiles) {
    throw new BundleError('E_LIMIT', `${signatures.length} signature files, more than the limit of ${LIMITS.signatureFiles}`, {
      origin: 'bundle',
    });
  }
  const signers = new Set<string>();
  const refused: RefusedSignature[] = [];
  const counting = countingKeyids(trust.keys, { name, now });
  for (const file of signatures) {
    const shownName = JSON.stringify(file.name).slice(0, 100);
    try {
      const keyid = await verifyStatementSignature(file.bytes, statementBytes, trust.keys, shownName);
      if (counting.has(keyid)) signers.add(keyid);
      else
        refused.push({
          name: file.name,
          code: 'E_UNTRUSTED',
          reason: `${shownName}: ${notCounted(keyid, trust.keys, { name, now })}`,
        });
    } catch (error) {
      const named = trust.keys.some((key) => file.name.startsWith(key.keyid));
      const reason = error instanceof Error ? error.message : String(error);
      refused.push({ name: file.name, code: refusalCode(error, named), reason });
    }
  }
  return { signers: [...signers].sort(byteOrder), refused };
}

/** Under several terms each may fail for another reason. */
function notCounted(keyid: string, keys: readonly TrustedKey[], occasion: Occasion): string {
  const own = keys.filter((key) => key.keyid === keyid);
  const why = [...new Set(own.map((key) => whyNotCounted(key, occasion)))].join('; ');
  return `by ${own[0] === undefined ? keyid : keyLabel(own[0])}, which does not count: ${why}`;
}

const refusalCode = (error: unknown, named: boolean): RefusedSignature['code'] =>
  error instanceof BundleError && error.code === 'E_UNTRUSTED' && !named ? 'E_UNTRUSTED' : 'E_SIGNATURE';

/**
 * The gate: enough distinct trusted keys have signed exactly these bytes, and no signature is broken. A broken one refuses the bundle even
 * when the others suffice: it was damaged or tampered with on the way.
 * @throws BundleError E_UNSIGNED (no signature file), E_SIGNATURE (a broken one), E_UNTRUSTED (none by a key that counts), E_THRESHOLD (too few);
 * E_TRUST_FILE, E_LIMIT
 */
export async function requireThreshold(signed: Signed): Promise<SignatureCount> {
  const { signatures, trust } = signed;
  assertTrust(trust);
  if (signatures.length === 0) {
    throw new BundleError('E_UNSIGNED', 'the bundle has no signature', {
      origin: 'bundle',
      hint: 'sign it where it was made (`bundle pull --key FILE`), or carry the *.sigstore.json files along',
    });
  }
  const count = await countTrustedSignatures(signed);
  const broken = count.refused.filter((item) => item.code === 'E_SIGNATURE');
  if (broken.length > 0) {
    throw new BundleError('E_SIGNATURE', `a signature does not verify: ${reasons(broken)}`, {
      origin: 'bundle',
      detail: { refused: count.refused },
      hint: 'the bundle was damaged or changed on the way: carry it again from the machine that signed it',
    });
  }
  if (count.signers.length === 0) throw untrusted(count, signed);
  if (count.signers.length < trust.threshold) throw tooFew(count, trust);
  return count;
}

function untrusted(count: SignatureCount, { trust, name, now }: Signed): BundleError {
  const counting = countingKeyids(trust.keys, { name, now });
  const keys = [...new Map(trust.keys.filter(({ keyid }) => counting.has(keyid)).map((key) => [key.keyid, key])).values()];
  const trusted = keys.slice(0, 4).map(keyLabel);
  const more = keys.length > trusted.length ? ` and ${keys.length - trusted.length} more` : '';
  const those = trusted.length === 0 ? 'no key counts here' : `${trusted.join(', ')}${more}`;
  return new BundleError('E_UNTRUSTED', `no signature is by a trusted key (${those}): ${reasons(count.refused)}`, {
    origin: 'bundle',
    detail: { refused: count.refused },
    hint: "compare the signer's keyid with your --trust; get a missing .pub from the signer, never from the medium",
  });
}

function tooFew({ signers, refused }: SignatureCount, { keys, threshold }: Signed['trust']): BundleError {
  const others = refused.length === 0 ? '' : `; not counted: ${reasons(refused)}`;
  const by = signers.map((keyid) => keyLabel(keys.find((key) => key.keyid === keyid) ?? { keyid })).join(', ');
  return new BundleError('E_THRESHOLD', `signed by ${signers.length} of the trusted keys (${by}), want ${threshold}${others}`, {
    origin: 'bundle',
    detail: { signers, threshold, refused },
    hint: 'let the missing approvers sign it (`bundle sign`) and carry their *.sigstore.json files too',
  });
}

/** At most three reasons: there may be 64 files with names of somebody else's choice. */
function reasons(refused: readonly RefusedSignature[]): string {
  const shown = refused.slice(0, 3).map((item) => item.reason);
  return shown.join('; ') + (refused.length > 3 ? `; and ${refused.length - 3} more` : '');
}
