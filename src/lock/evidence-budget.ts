import type { Digest } from '../core/digest.ts';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

/** For what is too much: the image itself can still be carried. */
export const LEAVE_BEHIND = 'look at what is there; with "evidence: none" for the image in the manifest all of it stays behind';

export type ImageBudget = Readonly<{
  /** Before reading more. @throws BundleError E_LIMIT when more was taken than there may be */
  check(): void;
  /** Counts a manifest in bytes. @throws BundleError E_LIMIT */
  take(digest: Digest, bytes: number): void;
}>;

/**
 * How many bytes manifests of evidence may have: they are kept until the run ends, and whoever may write to an origin decides how many there are. Of one
 * image everything counts; in the whole run what images of one repository share counts once.
 * @returns the budget of one image of `repository` (with its origin), which is called `what` in messages
 */
export function createEvidenceBudget(): (repository: string, what: string) => ImageBudget {
  const counted = new Set<string>();
  let total = 0;
  return (repository, what) => {
    let ofImage = 0;
    const check = (): void => {
      if (ofImage > LIMITS.imageEvidenceBytes)
        throw tooMuch(`${what}: manifests of signatures and other referrers have more than ${LIMITS.imageEvidenceBytes} bytes`);
      if (total > LIMITS.evidenceBytes)
        throw tooMuch(
          `${what}: manifests of signatures and other referrers of all images have more than ${LIMITS.evidenceBytes} bytes`,
        );
    };
    return {
      check,
      take(digest, bytes) {
        ofImage += bytes;
        const key = `${repository}@${digest}`;
        if (!counted.has(key)) total += bytes;
        counted.add(key);
        check();
      },
    };
  };
}

const tooMuch = (message: string): BundleError => new BundleError('E_LIMIT', message, { hint: LEAVE_BEHIND });
