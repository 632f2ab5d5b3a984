import { BundleError } from '../core/errors.ts';
import type { FileSystem } from '../files/file-system.ts';

/** How long, and for how many bytes, one look at the file system is believed. */
const BELIEVED_MS = 1000;
const BELIEVED_BYTES = 64 * 1024 * 1024;

/** Bytes that are about to come. */
export interface Announcement {
  /** @throws BundleError E_DISK_FULL when that would leave less than the floor free */
  set(bytes: number): Promise<void>;
  /** So many of them, or of nobody's, have come. @throws BundleError E_DISK_FULL */
  took(bytes: number): Promise<void>;
}

export type DiskFloor = ReturnType<typeof createDiskFloor>;

/**
 * Keeps `minFreeBytes` of the file system of `root` free, so that a registry that is filled up still can delete, and so can everybody else on
 * that disk. What running uploads have announced counts as taken.
 */
export function createDiskFloor(fs: FileSystem, root: string, minFreeBytes: number, elapsed: () => number) {
  let free: Promise<number> = Promise.resolve(0);
  let readAt = Number.NEGATIVE_INFINITY;
  let taken = 0; // since it was read
  let announced = 0;

  /** @throws BundleError E_DISK_FULL */
  const requireRoom = async (bytes: number): Promise<void> => {
    if (minFreeBytes === 0) return;
    if (elapsed() - readAt >= BELIEVED_MS || taken >= BELIEVED_BYTES) {
      readAt = elapsed();
      taken = 0;
      free = fs.freeBytes(root); // who comes while it is being read waits for the same answer
      free.catch(() => {
        readAt = Number.NEGATIVE_INFINITY;
      });
    }
    const claimed = taken + announced; // by those who came before: who comes while this waits gets what it leaves
    const left = (await free) - claimed;
    if (left - bytes >= minFreeBytes) return;
    throw new BundleError('E_DISK_FULL', `${left} bytes are free below ${root}, and ${minFreeBytes} are to stay so`, {
      origin: 'host',
      hint: 'delete images and collect garbage, or give the registry a larger disk',
      detail: { free: Math.max(0, left), floor: minFreeBytes },
    });
  };
  const announce = (): Announcement => {
    let coming = 0;
    const change = (bytes: number): void => {
      announced += bytes - coming;
      coming = bytes;
    };
    return {
      async set(bytes) {
        change(bytes); // before the wait: two that ask at once must not both get the same room
        if (bytes === 0) return;
        try {
          await requireRoom(0);
        } catch (error) {
          change(0);
          throw error;
        }
      },
      async took(bytes) {
        const known = coming >= bytes;
        change(Math.max(0, coming - bytes));
        taken += bytes;
        if (!known) await requireRoom(0);
      },
    };
  };
  return { requireRoom, announce };
}
