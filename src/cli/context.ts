import type { FileSystem } from '../files/file-system.ts';

/** What a command that goes on for years asks of the process. Absent where nothing of it is needed. */
export type LongRunning = Readonly<{
  /** From here on SIGHUP calls `listener` instead of ending the command. */
  onHangup(listener: () => void): void;
  /** The first SIGINT or SIGTERM gives the command this long to end by itself, milliseconds; a second one ends it at once. */
  endWithin(ms: number): void;
  /** Writes to standard output or error off the event loop, which a full pipe would hold. Rejects when the stream is gone. */
  write(stream: 'stdout' | 'stderr', bytes: Uint8Array): Promise<void>;
}>;

/** What a command may touch of the process: tests hand in their own. */
export type Context = Readonly<{
  fs: FileSystem;
  env: Readonly<Record<string, string | undefined>>;
  /** Data. */
  stdout: (text: string) => void;
  /** Talk: progress, warnings, errors. */
  stderr: (text: string) => void;
  /** Bars and colour make sense. */
  stderrIsTerminal: boolean;
  terminalWidth: () => number;
  /** Milliseconds since 1970. */
  now: () => number;
  signal: AbortSignal;
  longRunning?: LongRunning;
}>;
