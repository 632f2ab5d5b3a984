import type { Signer } from '@sigstore/sign';
import { BundleError } from '../core/errors.ts';
import { MEDIA_TYPE } from '../core/media-types.ts';

/**
 * Signs exactly these bytes: a Sigstore bundle v0.3 (JSON) with one DSSE signature and no log entry or timestamp. The same statement and a
 * deterministic signer give the same bytes.
 */
export async function signStatement(signer: Signer, statementBytes: Uint8Array): Promise<Uint8Array> {
  // Loaded only here, and only this part: the whole brings an HTTP client along (99 ms), for services that a key does not need.
  const { DSSEBundleBuilder } = await import('@sigstore/sign/dist/bundler/dsse.js');
  const { bundleToJSON } = await import('@sigstore/bundle');
  const bundle = await new DSSEBundleBuilder({ signer, witnesses: [] }).create({
    data: Buffer.from(statementBytes),
    type: MEDIA_TYPE.inToto,
  });
  if (bundle.content.$case !== 'dsseEnvelope') throw new BundleError('E_UNEXPECTED', 'the signing library made no DSSE envelope');
  // The library puts the hint there; go-securesystemslib, and so cosign, skips a signature whose keyid is not of its own making.
  for (const signature of bundle.content.dsseEnvelope.signatures) signature.keyid = '';
  return Buffer.from(JSON.stringify(bundleToJSON(bundle)));
}
