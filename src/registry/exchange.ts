import type { Dispatcher } from 'undici';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { PIECE_BYTES, takePiece } from '../core/piece.ts';

export type Incoming = Readonly<{
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  /** In pieces that belong to the reader (`givePiece` when done). Read once; leaving the loop early ends the connection. */
  body: AsyncIterable<Uint8Array>;
  /** Reads at most `maxBytes` of the rest away, for at most `ms`, so that the connection can be used again; ends it otherwise. Never throws. */
  discard(maxBytes: number, ms: number): Promise<void>;
}>;

type Options = Dispatcher.DispatchOptions & Readonly<{ signal?: AbortSignal | undefined }>;
type Controller = Dispatcher.DispatchController;

/** Full pieces that may wait for the reader before the sender is made to wait. */
const AHEAD = 2;

/** A reader who has waited this long gets what there is, so that a slow line shows progress and loses little when it breaks. */
const PATIENCE_MS = 500;

/**
 * One request. Nearer to undici than its `request`: the body is gathered in large pieces as it comes, without a stream between, which halves the cost
 * of a byte. @throws whatever undici reports; the signal's reason; BundleError E_TIMEOUT for a drip
 */
export function exchange(dispatcher: Dispatcher, options: Options): Promise<Incoming> {
  const { signal, ...request } = options;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    let controller: Controller | undefined;
    let body: Body | undefined;
    const stop = (): void => controller?.abort(signal?.reason as Error);
    const over = (): void => signal?.removeEventListener('abort', stop);
    signal?.addEventListener('abort', stop, { once: true });
    dispatcher.dispatch(request, {
      onRequestStart(started) {
        controller = started;
        if (signal?.aborted) stop();
      },
      onResponseStart(current, status, headers) {
        if (status < 200) return;
        const length = Number(headers['content-length']);
        body = createBody(current, Number.isSafeInteger(length) && length >= 0 ? length : PIECE_BYTES, `${options.origin}`);
        resolve({ status, headers, body, discard: body.discard });
      },
      onResponseData: (_, chunk) => body?.add(chunk),
      onResponseEnd() {
        over();
        body?.end(undefined);
      },
      onResponseError(_, error) {
        over();
        body?.end(error);
        reject(error); // when there was an answer already, that one counts
      },
    });
  });
}

type Body = AsyncIterable<Uint8Array> &
  Readonly<{
    /** Copies the chunk. */
    add(chunk: Buffer): void;
    /** @param error what the reader gets after all that came before it */
    end(error: unknown): void;
    discard(maxBytes: number, ms: number): Promise<void>;
  }>;

/** @param expected bytes to come, as far as is known */
function createBody(controller: Controller, expected: number, origin: string): Body {
  const ready: Uint8Array[] = [];
  let piece: Buffer | undefined;
  let filled = 0;
  let left = expected;
  let over = false;
  let failure: unknown;
  let wake: (() => void) | undefined;
  /** Set: nobody reads on, and so many bytes more are let go by. */
  let unwanted: number | undefined;
  let waitingSince = 0;
  const drip = createDripWatch(origin);

  const woken = (): void => {
    wake?.();
    wake = undefined;
  };
  const more = (): Promise<void> => {
    controller.resume();
    return new Promise((resolve) => {
      wake = resolve;
    });
  };
  const turnOver = (): void => {
    if (piece !== undefined && filled > 0) ready.push(piece.subarray(0, filled));
    piece = undefined;
    filled = 0;
  };
  const add = (chunk: Buffer): void => {
    for (let done = 0; done < chunk.length; ) {
      piece ??= takePiece(left > 0 ? left : PIECE_BYTES);
      const count = chunk.copy(piece, filled, done);
      filled += count;
      left -= count;
      done += count;
      if (filled === piece.length) turnOver();
    }
    if (wake !== undefined && ready.length === 0 && Date.now() - waitingSince > PATIENCE_MS) turnOver();
    if (ready.length > 0) woken();
    if (ready.length >= AHEAD) controller.pause();
  };
  const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
    waitingSince = Date.now();
    while (ready.length === 0 && !over) await more();
    const value = ready.shift();
    if (value !== undefined) {
      if (ready.length < AHEAD) controller.resume();
      return { done: false, value };
    }
    if (failure !== undefined) throw failure;
    return { done: true, value: undefined };
  };
  const leave = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
    if (!over) controller.abort(new Error('the rest of the answer is not wanted'));
    return { done: true, value: undefined };
  };

  return {
    add(chunk) {
      const slow = drip(chunk.length);
      if (slow !== undefined) return controller.abort(slow);
      if (unwanted === undefined) return add(chunk);
      unwanted -= chunk.length;
      if (unwanted < 0) controller.abort(new Error('too much to read away'));
    },
    end(error) {
      if (over) return;
      turnOver();
      over = true;
      failure = error;
      woken();
    },
    async discard(maxBytes, ms) {
      ready.length = 0;
      unwanted = maxBytes;
      const late = setTimeout(() => void leave(), ms);
      while (!over) await more();
      clearTimeout(late);
    },
    [Symbol.asyncIterator]: () => ({ next, return: leave }),
  };
}

/** Says E_TIMEOUT to a drip that would hold a connection for ever. */
function createDripWatch(origin: string): (bytes: number) => BundleError | undefined {
  let since = Date.now();
  let bytes = 0;
  return (count) => {
    bytes += count;
    const elapsed = Date.now() - since;
    if (elapsed <= LIMITS.slowWindowMs) return undefined;
    if (bytes < LIMITS.slowBytesPerWindow) {
      return new BundleError('E_TIMEOUT', `${new URL(origin).host} sent only ${bytes} bytes in ${Math.round(elapsed / 1000)} s`);
    }
    since = Date.now();
    bytes = 0;
    return undefined;
  };
}
