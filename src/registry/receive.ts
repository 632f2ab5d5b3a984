import type { Socket } from 'node:net';

/** Four of Node's own reads of 64 KiB: on a fast link each read finds that much. */
const BUFFER_BYTES = 256 * 1024;

/** Below this a read is copied: what undici holds on to between two reads (a header in parts, at most 16 KiB) must not change under it. */
const COPIED_BYTES = 64 * 1024;

type OnRead = Readonly<{
  buffer: () => Uint8Array;
  callback: (this: Socket, length: number, buffer: Buffer<ArrayBuffer>) => boolean;
}>;

/**
 * How one plain socket reads: into two buffers by turns instead of fresh memory for every 64 KiB, which is most of what receiving costs. What is lent
 * to the stream is overwritten only when nothing but the newest read is still unread there; bytes are read in order, so the older one is done with.
 */
export function createReceiver(): OnRead {
  let next = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  let other: Buffer<ArrayBuffer> | undefined; // most connections carry little and need only one
  return {
    buffer: () => next,
    callback(length, buffer) {
      const read = buffer.subarray(0, length);
      if (length < COPIED_BYTES) return this.push(Buffer.from(read));
      const free = this.readableLength === 0 ? other : undefined;
      [next, other] = [free ?? Buffer.allocUnsafeSlow(BUFFER_BYTES), next];
      return this.push(read);
    },
  };
}
