import type { SignedEntity, TrustMaterial } from '@sigstore/verify';

/** When logs and timestamp authorities say that it was signed, milliseconds since 1970; true only once the library has verified them all. */
export const claimedTimes = ({ timestamps }: SignedEntity): number[] =>
  timestamps.flatMap((each) => {
    if (each.$case === 'timestamp-authority') return [each.timestamp.signingTime.getTime()];
    // A time without a promise is nobody's word: the library does not count it either.
    return each.tlogEntry.inclusionPromise === undefined ? [] : [Number(each.tlogEntry.integratedTime) * 1000];
  });

/**
 * The root as it stood at all of these times. The library asks for how long a log's key is valid only where the entry has a time of its own,
 * which those of Rekor v2 have not: with a key that was retired, anybody who got hold of it could still make entries.
 */
export const materialAt = (material: TrustMaterial, times: readonly number[]): TrustMaterial => ({
  ...material,
  tlogs: material.tlogs.filter(({ validFor }) =>
    times.every((time) => validFor.start.getTime() <= time && time <= validFor.end.getTime()),
  ),
});

/** All of them are true, so it was signed by the earliest. */
export const earliest = (times: readonly number[]): number | undefined => (times.length === 0 ? undefined : Math.min(...times));
