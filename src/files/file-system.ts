/**
 * The one port through which files are read and changed, so that tests can place a kill or a disk error before and after every change.
 * No method follows a symbolic link at the last path component. Errors are Node's system errors; callers wrap them with `diskError`.
 */

export type FileKind = 'file' | 'directory' | 'link' | 'other';
/** `size` in bytes, `mtimeMs` in milliseconds since 1970. */
export type FileStat = Readonly<{ kind: FileKind; size: number; mode: number; mtimeMs: number }>;

export interface WriteHandle {
  write(chunk: Uint8Array): Promise<void>;
  /** The same at once: a page cache takes bytes faster than a thread can be woken to write them. Not where others wait for the event loop. */
  writeNow(chunk: Uint8Array): void;
  /** fsync; tolerates file systems that have none (exFAT on macOS: ENOTTY), never EIO. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface ReadHandle {
  readonly size: number;
  /**
   * Bytes `start` (inclusive) to `end` (exclusive, default: size) in chunks; each chunk may be overwritten once the next is asked for.
   * @param into memory for the chunks, at least 1 byte; by default fresh memory, as much as reads well
   */
  read(start?: number, end?: number, into?: Uint8Array): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export interface FileSystem {
  // --- changes ---
  /** Makes the directory and missing parents; an existing one is fine. */
  mkdir(path: string): Promise<void>;
  /** Creates a file that must not exist (`wx`). @param mode default 0o644 */
  create(path: string, mode?: number): Promise<WriteHandle>;
  /** Opens an existing regular file to add to its end. */
  append(path: string): Promise<WriteHandle>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  /** fsync of a directory, so that the names in it survive a power cut. */
  syncDir(path: string): Promise<void>;
  /** fsync of a file that is already closed. */
  syncFile(path: string): Promise<void>;
  // --- reads ---
  /** Opens a regular file. @throws BundleError E_NOT_REGULAR when it is a link, directory or device */
  openRead(path: string): Promise<ReadHandle>;
  /** Whole content of a regular file of at most `maxBytes`. @throws BundleError E_NOT_REGULAR, E_LIMIT */
  readFile(path: string, maxBytes: number): Promise<Buffer>;
  /**
   * The same for a file that the user of this machine named (keys, manifests, credentials): links are followed and pipes are read, since secrets
   * are mounted as links and passwords come as `<(…)`. Never for anything on a medium. @throws BundleError E_NOT_REGULAR for a directory, E_LIMIT
   */
  readUserFile(path: string, maxBytes: number): Promise<Buffer>;
  /** Names in a directory, sorted. */
  list(path: string): Promise<string[]>;
  /** undefined when there is nothing of that name. Does not follow links. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Bytes that an ordinary user may still write below `path`. */
  freeBytes(path: string): Promise<number>;
  /** Size of the file system below `path`. */
  totalBytes(path: string): Promise<number>;
}
