import { setTimeout } from 'node:timers/promises';
import { LIMITS } from '../core/limits.ts';

/** Where lines go: a file or a stream. */
export type LogTarget = Readonly<{
  write(bytes: Uint8Array): Promise<void>;
  /** Opens the file of that name anew, which logrotate has moved away. */
  reopen(): Promise<void>;
  close(): Promise<void>;
}>;

export type LogSink = Readonly<{
  line(text: string): void;
  /** Lines that were given up since the start. */
  dropped(): number;
  reopen(): void;
  /** Ends after what waits has been written, or could not be. */
  close(): Promise<void>;
}>;

const CLOSE_MS = 2000;

/**
 * Writes lines one batch after the other and never holds more than a bounded heap of them: a log that can't keep up loses lines and says how many,
 * and the server goes on.
 * @param complain told once per failure in a row
 */
export function createLogSink(target: LogTarget, complain: (error: unknown) => void): LogSink {
  let waiting: string[] = [];
  let bytes = 0;
  let dropped = 0;
  let untold = 0;
  let failing = false;
  let reopening = false;
  let work: Promise<void> | undefined;

  const attempt = async (step: () => Promise<void>, lost: number): Promise<void> => {
    try {
      await step();
      failing = false;
    } catch (error) {
      dropped += lost;
      untold += lost;
      if (!failing) complain(error);
      failing = true;
    }
  };
  const run = async (): Promise<void> => {
    while (waiting.length > 0 || reopening) {
      if (reopening) {
        reopening = false;
        await attempt(target.reopen, 0);
      }
      const batch = waiting;
      [waiting, bytes] = [[], 0];
      if (untold > 0) batch.push(`${JSON.stringify({ dropped: untold })}\n`);
      untold = 0;
      if (batch.length > 0) await attempt(() => target.write(Buffer.from(batch.join(''))), batch.length);
    }
    work = undefined;
  };
  const start = (): void => {
    work ??= Promise.resolve().then(run);
  };
  return {
    line(text) {
      if (bytes + text.length > LIMITS.accessLogBytes) {
        dropped++;
        untold++;
        return;
      }
      waiting.push(text);
      bytes += text.length;
      start();
    },
    dropped: () => dropped,
    reopen() {
      reopening = true;
      start();
    },
    async close() {
      // A pipe that nobody reads must not hold the end up.
      const waited = new AbortController();
      const late = setTimeout(CLOSE_MS, undefined, { signal: waited.signal }).catch(() => undefined);
      await Promise.race([work, late]);
      waited.abort();
      await attempt(target.close, 0);
    },
  };
}
