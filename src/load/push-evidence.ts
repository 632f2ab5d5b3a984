import { BundleError, isBundleError } from '../core/errors.ts';
import type { EvidencePlace } from './evidence-places.ts';
import type { PushContext } from './push.ts';
import type { PlaceOutcome } from './push-carried.ts';
import { pushReferrers } from './push-referrers.ts';
import { pushTagged } from './push-tagged.ts';

/** Brings what is missing by digest. No tag moves here. */
export const pushEvidence = (context: PushContext, place: EvidencePlace): Promise<PlaceOutcome> =>
  place.tag === undefined ? pushReferrers(context, place) : pushTagged(context, place, place.tag);

/** Names the place in what went wrong. */
export function evidenceFault(place: EvidencePlace, error: unknown): unknown {
  if (!isBundleError(error)) return error;
  const what = place.tag ?? `referrers of ${place.subject}`;
  return new BundleError(error.code, `signatures of ${place.repository}, ${what}: ${error.message}`, {
    hint: error.hint,
    origin: error.origin,
    cause: error,
    detail: error.detail,
  });
}
