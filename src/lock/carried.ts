import type { Digest } from '../core/digest.ts';
import type { LockItem } from './lock-file.ts';

/**
 * Manifests of the origin that an item carries and that somebody may have signed: what the reference means there first, then each platform's. A derived
 * index is ours: nobody upstream can have signed it.
 */
export const carriedManifests = (item: Pick<LockItem, 'digest' | 'targetDigest' | 'form' | 'platforms'>): readonly Digest[] => [
  ...new Set([
    item.digest,
    ...(item.form === 'derived' ? [] : [item.targetDigest]),
    ...item.platforms.map((platform) => platform.digest),
  ]),
];
