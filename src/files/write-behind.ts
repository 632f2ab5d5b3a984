import { givePiece } from '../core/piece.ts';
import type { WriteHandle } from './file-system.ts';

/** Writes one piece while the next one comes in. */
export type WriteBehind = Readonly<{
  /** Takes the piece over: it is written later and given back then. @throws whatever `seen` or an earlier write threw */
  push(piece: Uint8Array): Promise<void>;
  /** Waits for the last write. */
  end(): Promise<void>;
  /** After a failure: waits for what is being written, so that who goes on from there finds it. Its own failure is not the news. */
  settle(): Promise<void>;
}>;

/** @param seen gets exactly the bytes that are written, before they are; what it throws ends the writing. It is done with them when its promise is kept. */
export function createWriteBehind(handle: WriteHandle, seen: (piece: Uint8Array) => Promise<void> | undefined): WriteBehind {
  let writing: Promise<void> = Promise.resolve();
  return {
    async push(piece) {
      const seeing = seen(piece); // while the last one is being written
      seeing?.catch(() => undefined); // thrown with the write
      await writing;
      writing = Promise.all([handle.write(piece), seeing]).then(() => givePiece(piece));
      writing.catch(() => undefined); // thrown by the next await
    },
    end: () => writing,
    settle: () => writing.catch(() => undefined),
  };
}
