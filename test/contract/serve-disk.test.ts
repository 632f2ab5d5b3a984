import assert from 'node:assert/strict';
import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { digestOf } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { openDiskContent } from '../../src/serve/disk-content.ts';
import { tempDir } from '../support/temp-dir.ts';
import { assertRefused, bench, bytes, pushBlob, pushImage, type Store } from './serve-harness.ts';

const on = (root: string, fs: FileSystem = nodeFileSystem): Store => ({ name: 'disk', open: () => openDiskContent(fs, root) });

async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => `${entry.parentPath}/${entry.name}`.slice(root.length + 1));
}

describe('a registry on disk', () => {
  test('everything is there again after a restart, but no half upload', async (t) => {
    const root = await tempDir(t);
    const first = await bench(t, on(root));
    const subject = { mediaType: MEDIA_TYPE.ociManifest, digest: digestOf(bytes(5)), size: 5 };
    const image = await pushImage(first.call, 'docker.io/library/x', { subject }, 'V1');
    const upload = await first.call('POST', '/v2/x/blobs/uploads/');
    await first.call('PATCH', upload.headers.location ?? '', { body: bytes(1000) });
    assert.equal((await readdir(`${root}/uploads`)).length, 1);

    const { call } = await bench(t, on(root));
    assert.deepEqual((await call('GET', '/v2/docker.io/library/x/manifests/V1')).body, image.bytes);
    const referrers = await call('GET', `/v2/docker.io/library/x/referrers/${subject.digest}`);
    assert.equal(JSON.parse(referrers.body.toString()).manifests[0].digest, image.digest);
    assert.equal((await call('GET', upload.headers.location ?? '')).status, 404);
    assert.deepEqual(await readdir(`${root}/uploads`), []);
  });

  test('bytes lie once, named for their digest, and go with the last repository that has them', async (t) => {
    const root = await tempDir(t);
    const { call } = await bench(t, on(root));
    const body = bytes(2000);
    const [digest, long] = [digestOf(body), digestOf(body, 'sha512')];
    for (const name of ['a', 'b/c']) {
      await pushBlob(call, name, body);
      await pushBlob(call, name, body, 'sha512');
    }
    const blobs = (await filesBelow(root)).filter((path) => path.startsWith('blobs/')).sort();
    assert.deepEqual(
      blobs,
      [`blobs/${digest}`, `blobs/${long}`].map((path) => path.replace(':', '/')),
    );
    assert.deepEqual(await readFile(`${root}/${blobs[0]}`), body);
    await call('DELETE', `/v2/a/blobs/${digest}`);
    assert.equal((await stat(`${root}/${blobs[0]}`)).size, 2000);
    await call('DELETE', `/v2/b/c/blobs/${digest}`);
    await assert.rejects(stat(`${root}/${blobs[0]}`), { code: 'ENOENT' });
  });

  test('a deleted image leaves no file behind', async (t) => {
    const root = await tempDir(t);
    const { call } = await bench(t, on(root));
    const subject = { mediaType: MEDIA_TYPE.ociManifest, digest: digestOf(bytes(5)), size: 5 };
    const image = await pushImage(call, 'a', { subject }, 'v1');
    const { config, layers } = JSON.parse(image.bytes.toString());
    await call('DELETE', `/v2/a/manifests/${image.digest}`);
    for (const { digest } of [config, ...layers]) await call('DELETE', `/v2/a/blobs/${digest}`);
    assert.deepEqual(await filesBelow(root), []);
  });

  test('a blob damaged on disk is whole again after the next push', async (t) => {
    const root = await tempDir(t);
    const { call } = await bench(t, on(root));
    const body = bytes(2000);
    const digest = await pushBlob(call, 'a', body);
    await truncate(`${root}/blobs/${digest.replace(':', '/')}`, 10);
    await pushBlob(call, 'a', body);
    assert.deepEqual((await call('GET', `/v2/a/blobs/${digest}`)).body, body);
    const image = await pushImage(call, 'a', {}, 'v1');
    await writeFile(`${root}/blobs/${image.digest.replace(':', '/')}`, 'damaged');
    await call('PUT', '/v2/a/manifests/v1', { body: image.bytes, headers: { 'content-type': image.mediaType } });
    assert.deepEqual((await call('GET', '/v2/a/manifests/v1')).body, image.bytes);
  });

  test('a full disk is 507, leaves no file, and the registry goes on when there is room', async (t) => {
    const root = await tempDir(t);
    let full = true;
    const fs: FileSystem = {
      ...nodeFileSystem,
      async create(path, mode) {
        const handle = await nodeFileSystem.create(path, mode);
        const write = async (chunk: Uint8Array): Promise<void> => {
          if (full) throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
          await handle.write(chunk);
        };
        return { ...handle, write };
      },
    };
    const { call } = await bench(t, on(root, fs));
    const body = bytes(3_000_000);
    const digest = digestOf(body);
    const reply = await call('POST', `/v2/a/blobs/uploads/?digest=${digest}`, { body });
    assertRefused(reply, 507, 'UNKNOWN');
    assert.deepEqual(await filesBelow(root), []);
    full = false;
    await pushBlob(call, 'a', body);
    assert.equal((await call('GET', `/v2/a/blobs/${digest}`)).body.compare(body), 0);
  });

  test('a blob that is pushed while another repository deletes it stays', async (t) => {
    const root = await tempDir(t);
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    const fs: FileSystem = {
      ...nodeFileSystem,
      async unlink(path) {
        if (path.startsWith(`${root}/blobs/`)) {
          reached.resolve();
          await gate.promise;
        }
        await nodeFileSystem.unlink(path);
      },
    };
    const { call } = await bench(t, on(root, fs));
    const body = bytes(500);
    const digest = await pushBlob(call, 'old', body);
    const deleted = call('DELETE', `/v2/old/blobs/${digest}`);
    await reached.promise;
    const pushed = pushBlob(call, 'new', body);
    await Promise.race([pushed, setTimeout(100)]); // long enough for a push that does not wait its turn
    gate.resolve();
    assert.equal((await deleted).status, 202);
    await pushed;
    assert.equal((await call('GET', `/v2/new/blobs/${digest}`)).status, 200);
  });
});
