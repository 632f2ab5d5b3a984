import type { FileSystem } from '../files/file-system.ts';
import type { DiskFloor } from './disk-floor.ts';
import type { LayoutIndex } from './disk-index.ts';
import type { Members } from './disk-members.ts';
import type { DiskPaths } from './disk-paths.ts';
import type { Turns } from './in-turn.ts';

/** What all parts of one open registry directory share. */
export type DiskStore = Readonly<{
  fs: FileSystem;
  paths: DiskPaths;
  members: Members;
  /** A change takes its turn in its repository first, then with the digest: what one deletes another may be linking. */
  inTurn: Turns;
  index: LayoutIndex;
  floor: DiskFloor;
  /** ms since 1970: for comparing with what files say. */
  now: () => number;
  /** ms since some moment: a node's wall clock may jump by years when it is set, and then all that was promised would seem long ago. */
  elapsed: () => number;
  warn: (message: string) => void;
}>;
