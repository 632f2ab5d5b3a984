import assert from 'node:assert/strict';
import { existsSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { nodeFileSystem as fs } from '../../../src/files/node-file-system.ts';
import { tempDir } from '../../support/temp-dir.ts';

describe('mkdir', () => {
  it('makes missing parents, and is content with what is there', async (t) => {
    const dir = await tempDir(t);
    await fs.mkdir(join(dir, 'a/b/c'));
    await fs.mkdir(join(dir, 'a/b/c'));
    assert.ok(statSync(join(dir, 'a/b/c')).isDirectory());
  });

  it('ends with an error where nothing can be made, also where the system says ENOENT for ever', {
    skip: !existsSync('/proc/self'),
  }, async () => {
    await assert.rejects(fs.mkdir('/proc/x/y'), { code: 'ENOENT' });
  });

  it('refuses a file or a dangling link in the way', async (t) => {
    const dir = await tempDir(t);
    writeFileSync(join(dir, 'file'), '');
    symlinkSync(join(dir, 'nowhere'), join(dir, 'link'));
    await assert.rejects(fs.mkdir(join(dir, 'file')), { code: 'EEXIST' });
    await assert.rejects(fs.mkdir(join(dir, 'file/below')), { code: 'ENOTDIR' });
    await assert.rejects(fs.mkdir(join(dir, 'link')), { code: 'EEXIST' });
  });
});
