import type { Descriptor } from '../core/descriptor.ts';
import type { Digest, DigestAlgorithm } from '../core/digest.ts';

/** What the HTTP handlers serve: in memory, on disk, or (later) a bundle. Membership counts per repository, not mere presence of bytes. */

export type StoredManifest = Readonly<{ mediaType: string; digest: Digest; bytes: Uint8Array }>;

export interface StoredBlob {
  /** bytes */
  readonly size: number;
  /**
   * Bytes `start` (inclusive) to `end` (exclusive; default: all). Nothing is opened before the first chunk is asked for, and a chunk may be
   * overwritten once the next is asked for.
   */
  open(start?: number, end?: number): AsyncIterable<Uint8Array>;
}

export interface RegistryContent {
  /** @param reference a tag or a digest */
  manifest(repository: string, reference: string): Promise<StoredManifest | undefined>;
  blob(repository: string, digest: Digest): Promise<StoredBlob | undefined>;
  /** Names of all repositories, in byte order. */
  repositories(): Promise<readonly string[]>;
  /** In byte order; undefined when there is no such repository. */
  tags(repository: string): Promise<readonly string[] | undefined>;
  /** Descriptors of the manifests whose `subject` is `digest`, by digest. The subject need not exist. */
  referrers(repository: string, digest: Digest): Promise<readonly Descriptor[]>;
}

/** Bytes of one upload before their digest is known. Not visible to any reader. */
export interface Staging {
  /** So many bytes are about to come (0: no more for now). @throws BundleError E_DISK_FULL when there is no room for them */
  announce(bytes: number): Promise<void>;
  /** The chunk belongs to the staging from here on. @throws BundleError E_DISK, E_DISK_FULL */
  write(chunk: Uint8Array): Promise<void>;
  /** What was written so far outlives this process from here on, where anything does. */
  flush(): Promise<void>;
  /** All that was written, from the start. */
  read(): AsyncIterable<Uint8Array>;
  /** Makes the bytes a blob of `repository`. The caller has proven that they hash to `digest`. */
  commit(repository: string, digest: Digest): Promise<void>;
  discard(): Promise<void>;
  /** Lets go of it for another process to find. */
  suspend(): Promise<void>;
}

/** What a session of an upload is, apart from its bytes. Times in milliseconds since 1970. */
export type UploadRecord = Readonly<{
  /** A UUID. */
  id: string;
  repository: string;
  /** What the client said that its digest will be in. */
  algorithm?: DigestAlgorithm;
  startedAt: number;
}>;

/** A session that an earlier process left. */
export type SavedUpload = UploadRecord & Readonly<{ staging: Staging; received: number; usedAt: number }>;

export interface WritableContent extends RegistryContent {
  /** @param record of a session that is to outlive the process, where the content can do that */
  stage(record?: UploadRecord): Promise<Staging>;
  /** Sessions that an earlier process left: they belong to the caller, so they are given once. */
  savedUploads(): Promise<readonly SavedUpload[]>;
  /** Makes a blob of repository `from` (of any repository when undefined) one of `repository` too; false when it is not there. */
  mount(repository: string, digest: Digest, from: string | undefined): Promise<boolean>;
  /** Stores the bytes as they are and points `tags` at them. Checks nothing: what is acceptable is the handlers' business. */
  putManifest(repository: string, manifest: StoredManifest, tags: readonly string[]): Promise<void>;
  /** Each delete says whether the thing was there. A manifest takes the tags that point at it along. */
  deleteManifest(repository: string, digest: Digest): Promise<boolean>;
  deleteTag(repository: string, tag: string): Promise<boolean>;
  deleteBlob(repository: string, digest: Digest): Promise<boolean>;
}

export const isWritable = (content: RegistryContent): content is WritableContent => 'putManifest' in content;
