import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { FileSystem } from '../../../src/files/file-system.ts';
import { nodeFileSystem } from '../../../src/files/node-file-system.ts';
import { encodeLockFile } from '../../../src/lock/lock-file.ts';
import { openProject } from '../../../src/lock/project.ts';
import { rejectsWith } from '../../support/assert-code.ts';
import { type Ending, tempDir } from '../../support/temp-dir.ts';

async function project(t: Ending) {
  const directory = await tempDir(t);
  const file = join(directory, 'app.yaml');
  await writeFile(file, 'apiVersion: bundle/v1\nname: app\nimages: [a:1]\n');
  const open = (fs: FileSystem = nodeFileSystem) =>
    openProject(fs, { file, refreshLists: false, fetchText: async () => assert.fail('no list here') });
  return { lock: join(directory, 'app.lock.json'), elsewhere: join(directory, 'elsewhere.json'), open };
}

describe('the lock beside a manifest', () => {
  it('that is a directory is refused by name', async (t) => {
    const { lock, open } = await project(t);
    await mkdir(lock);
    const error = await rejectsWith(open(), 'E_LOCK');
    assert.ok(error.message.includes(lock));
  });

  it('that is a link is read', async (t) => {
    const { lock, elsewhere, open } = await project(t);
    await writeFile(elsewhere, encodeLockFile({ lockVersion: 1, name: 'app', items: [] }));
    await symlink(elsewhere, lock);
    assert.equal((await open()).lock?.name, 'app');
  });

  it('that is a link to nothing is refused by name', async (t) => {
    const { lock, elsewhere, open } = await project(t);
    await symlink(elsewhere, lock);
    await rejectsWith(open(), 'E_LOCK', /link to nothing/);
  });

  it('that may not be read is a disk error which names it', async (t) => {
    const { lock, open } = await project(t);
    await writeFile(lock, '{}');
    const denied = async (path: string): Promise<never> => {
      throw Object.assign(new Error(`EACCES: permission denied, open '${path}'`), { code: 'EACCES' });
    };
    const fs = {
      ...nodeFileSystem,
      readFile: (path: string, max: number) => (path === lock ? denied(path) : nodeFileSystem.readFile(path, max)),
    };
    const error = await rejectsWith(open(fs), 'E_DISK');
    assert.ok(error.message.includes(lock));
  });
});
