/** A process of its own that takes the lock of a directory: `node lock-worker.ts hold DIR` or `node lock-worker.ts count DIR TIMES`. */
import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { isBundleError } from '../../src/core/errors.ts';
import { type DirectoryLock, lockDirectory } from '../../src/files/directory-lock.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';

const [mode, directory, times] = process.argv.slice(2) as [string, string, string?];

async function take(): Promise<DirectoryLock> {
  for (;;) {
    try {
      return await lockDirectory(nodeFileSystem, directory, { command: `worker ${process.pid}` });
    } catch (error) {
      if (!isBundleError(error) || error.code !== 'E_LOCKED') throw error;
      await setTimeout(Math.random() * 3);
    }
  }
}

if (mode === 'hold') {
  await take();
  process.stdout.write('held\n');
  await setTimeout(60_000);
}
for (let i = 0; mode === 'count' && i < Number(times); i++) {
  const lock = await take();
  // Read, wait, write: two at once would lose a count.
  const count = Number(await readFile(`${directory}/count`, 'utf8'));
  await setTimeout(Math.random() < 0.2 ? 1 : 0);
  await lock.check();
  await writeFile(`${directory}/count`, String(count + 1));
  await lock.release();
}
