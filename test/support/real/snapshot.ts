import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Every file below a directory with its size and the instant of its last write: equal before and after means nothing was written. */
export async function snapshot(directory: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const item of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(item.parentPath, item.name);
    const { size, mtimeMs, ino } = await lstat(path);
    if (!item.isDirectory()) found[path.slice(directory.length)] = `${ino} ${size} ${mtimeMs}`;
  }
  return found;
}
