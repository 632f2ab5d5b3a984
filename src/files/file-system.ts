import type { DigestAlgorithm } from '../core/digest.ts';

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
  /** Absent: who needs the digest hashes before he writes. @param onWritten called with each piece when it may be used again */
  digesting?(algorithm: DigestAlgorithm, onWritten: (piece: Uint8Array) => void): DigestingWriter;
  /** fsync; tolerates file systems that have none (exFAT on macOS: ENOTTY), never EIO. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Hashes and writes in a thread of its own what it is given, in that order. */
export interface DigestingWriter {
  /** Waits until there is room. The bytes must stay as they are until they are written. @throws what an earlier piece failed with */
  add(piece: Uint8Array): Promise<void>;
  /** The digest in hex of all that was added, once all of it is written. @throws the system's errors of writing */
  end(): Promise<string>;
  /** Waits until nothing is written any more, however it ended: before the file is closed. Never throws. */
  settled(): Promise<void>;
}

export interface ReadHandle {
  readonly size: number;
  /**
   * Bytes `start` (inclusive) to `end` (exclusive, default: size) in chunks; each chunk may be overwritten once the next is asked for.
   * @param into memory for the chunks, at least 1 byte; by default fresh memory, as much as reads well
   */
  read(start?: number, end?: number, into?: Uint8Array): AsyncIterable<Uint8Array>;
  /**
   * The digest in hex of the first `size` bytes, or of as many as there still are, made in a thread of its own. Absent: who needs it reads and hashes.
   * @param onBytes called with the number of bytes hashed since the last call
   */
  digest?(algorithm: DigestAlgorithm, onBytes: (count: number) => void): Promise<string>;
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
