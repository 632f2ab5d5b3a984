/** The same bytes in, the same archive out: fixed order, owner and time. */

import { createWriteStream, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((each) => each.isFile())
    .map((each) => join(each.parentPath, each.name))
    .sort();
}

/** Writes `folder` as a gzipped tar whose one top entry has the folder's name. */
export async function writeArchive(folder: string, file: string): Promise<void> {
  const tar = pack();
  const written = pipeline(tar, createGzip({ level: 6 }), createWriteStream(file));
  for (const path of filesIn(folder)) {
    const name = join(basename(folder), relative(folder, path));
    const mode = statSync(path).mode & 0o111 ? 0o755 : 0o644;
    tar.entry({ name, mode, mtime: new Date(0), uid: 0, gid: 0 }, readFileSync(path));
  }
  tar.finalize();
  await written;
}
