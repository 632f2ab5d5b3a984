import { givePiece, PIECE_BYTES, takePiece } from '../core/piece.ts';
import type { WriteHandle } from '../files/file-system.ts';

/** Gathers small chunks (sockets give 64 KiB at a time) and writes one piece while the next one fills. @param open called when there is something to write */
export function createGatherer(open: () => Promise<WriteHandle>) {
  let filling: Buffer | undefined;
  let spare: Buffer | undefined;
  let filled = 0;
  let writing: Promise<void> = Promise.resolve();
  const turnOver = async (): Promise<void> => {
    const handle = filled === 0 ? undefined : await open();
    await writing;
    if (handle === undefined || filling === undefined || filled === 0) return;
    writing = handle.write(filling.subarray(0, filled));
    writing.catch(() => undefined); // reported by the next `await writing`
    [filling, spare] = [spare, filling];
    filled = 0;
  };
  return {
    async write(chunk: Uint8Array): Promise<void> {
      for (let done = 0; done < chunk.length; ) {
        filling ??= takePiece(PIECE_BYTES);
        const part = chunk.subarray(done, done + filling.length - filled);
        filling.set(part, filled);
        filled += part.length;
        done += part.length;
        if (filled === filling.length) await turnOver();
      }
    },
    /** After it an idle upload holds a file at most, no memory. */
    async flush(): Promise<void> {
      await turnOver();
      await writing;
      if (filled > 0) return; // more came in meanwhile
      for (const piece of [filling, spare]) if (piece !== undefined) givePiece(piece);
      [filling, spare] = [undefined, undefined];
    },
  };
}
