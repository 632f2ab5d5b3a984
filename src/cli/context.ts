import type { FileSystem } from '../files/file-system.ts';

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
}>;
