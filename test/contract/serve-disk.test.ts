import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, test } from 'node:test';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { createBlobStore } from '../../src/bundle/blob-store.ts';
import type { Descriptor } from '../../src/core/descriptor.ts';
import { digestOf } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { type DiskContent, type DiskOptions, openDiskContent } from '../../src/serve/disk-content.ts';
import { createUploads } from '../../src/serve/uploads.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { type Ending, tempDir } from '../support/temp-dir.ts';
import { assertRefused, type Bench, bench, bytes, pushBlob, pushImage, withDigest } from './serve-harness.ts';

const on = (root: string, fs: FileSystem = nodeFileSystem, options: DiskOptions = {}): DiskStore => ({
  name: 'disk',
  async open(t) {
    const content = await openDiskContent(fs, root, options);
    t.after(() => content.close().catch(() => undefined)); // its directory may be gone
    return content;
  },
});

type DiskStore = Readonly<{ name: string; open(t: Ending): Promise<DiskContent> }>;
type DiskBench = Bench & Readonly<{ content: DiskContent }>;
const disk = async (t: Ending, store: DiskStore): Promise<DiskBench> => (await bench(t, store)) as DiskBench;

async function stop({ registry, content }: DiskBench): Promise<void> {
  await registry.close(0);
  await content.close();
}

/** Of the content: what the directory itself consists of is left out. */
async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath}/${entry.name}`.slice(root.length + 1));
  return files.filter((path) => !/^(?:\.lock\/owner\.json|oci-layout|index\.json)$/.test(path));
}

describe('a registry on disk', () => {
  test('everything is there again after a restart, and an upload goes on where it was', async (t) => {
    const root = await tempDir(t);
    const first = await disk(t, on(root));
    const subject = { mediaType: MEDIA_TYPE.ociManifest, digest: digestOf(bytes(5)), size: 5 };
    const image = await pushImage(first.call, 'docker.io/library/x', { subject }, 'V1');
    const body = bytes(300_000);
    const location = (await first.call('POST', '/v2/x/blobs/uploads/')).headers.location ?? '';
    assert.equal((await first.call('PATCH', location, { body: body.subarray(0, 100_000) })).status, 202);
    await stop(first);

    const { call } = await disk(t, on(root));
    assert.deepEqual((await call('GET', '/v2/docker.io/library/x/manifests/V1')).body, image.bytes);
    const referrers = await call('GET', `/v2/docker.io/library/x/referrers/${subject.digest}`);
    assert.equal(JSON.parse(referrers.body.toString()).manifests[0].digest, image.digest);
    assert.equal((await call('GET', location)).headers.range, '0-99999');
    assertRefused(await call('GET', location.replace('/v2/x/', '/v2/y/')), 404, 'BLOB_UPLOAD_UNKNOWN');
    const headers = { 'content-range': '100000-299999' };
    assert.equal((await call('PATCH', location, { body: body.subarray(100_000), headers })).status, 202);
    const digest = digestOf(body, 'sha512');
    assert.equal((await call('PUT', withDigest(location, digest))).status, 201);
    assert.equal((await call('GET', `/v2/x/blobs/${digest}`)).body.compare(body), 0);
    assert.deepEqual(await readdir(`${root}/uploads`), []);
  });

  test('an upload that idled, or grew old, ends with its bytes, counted from before the restart', async (t) => {
    for (const limit of [{ idleMs: 1000 }, { maxAgeMs: 1000 }]) {
      const root = await tempDir(t);
      const first = await disk(t, on(root));
      const location = (await first.call('POST', '/v2/x/blobs/uploads/')).headers.location ?? '';
      await first.call('PATCH', location, { body: bytes(1000) });
      await stop(first);
      const content = await on(root).open(t);
      const { call } = await bench(
        t,
        { name: 'disk', open: async () => content },
        {
          uploads: { ...limit, now: () => Date.now() + 2000 },
        },
      );
      assertRefused(await call('GET', location), 404, 'BLOB_UPLOAD_UNKNOWN');
      assert.deepEqual(await readdir(`${root}/uploads`), []);
    }
  });

  test('a request that outlives the server writes nothing more, and the session stays for the next process', async (t) => {
    const root = await tempDir(t);
    const content = await on(root).open(t);
    const uploads = createUploads(content);
    const upload = await uploads.start('x');
    const gate = Promise.withResolvers<void>();
    async function* body(): AsyncGenerator<Uint8Array> {
      yield Buffer.alloc(1000);
      await gate.promise;
      yield Buffer.alloc(1_000_000);
    }
    const receiving = uploads.receive(upload, body());
    while (upload.received < 1000) await setImmediate();
    await uploads.close();
    await content.close();
    gate.resolve();
    await rejectsWith(receiving, 'E_INTERRUPTED');
    assert.equal((await stat(`${root}/uploads/${upload.id}`)).size, 1000);
    const again = await on(root).open(t);
    assert.equal((await createUploads(again).find('x', upload.id)).received, 1000);
  });

  test('a second process is refused, and a directory of other things is not taken', async (t) => {
    const root = await tempDir(t);
    await disk(t, on(root));
    await rejectsWith(openDiskContent(nodeFileSystem, root), 'E_LOCKED');
    const bundle = await tempDir(t);
    await mkdir(`${bundle}/blobs/sha256`, { recursive: true });
    await writeFile(`${bundle}/blobs/sha256/${'0'.repeat(64)}`, 'precious');
    await rejectsWith(openDiskContent(nodeFileSystem, bundle), 'E_USAGE');
    assert.deepEqual(await filesBelow(bundle), [`blobs/sha256/${'0'.repeat(64)}`]);
  });

  test('a bundle is not taken for a registry, even with a folder "repositories" in it, and keeps its bytes', async (t) => {
    for (const sign of ['bundle.json', 'generations/1/bundle.json']) {
      const bundle = await tempDir(t);
      const blob = `blobs/sha256/${'0'.repeat(64)}`;
      for (const path of [sign, blob, 'repositories/a/_blobs/x']) {
        await mkdir(dirname(`${bundle}/${path}`), { recursive: true });
        await writeFile(`${bundle}/${path}`, 'precious');
      }
      const before = await filesBelow(bundle);
      await rejectsWith(openDiskContent(nodeFileSystem, bundle), 'E_USAGE', /holds a bundle/);
      assert.deepEqual(await filesBelow(bundle), before, sign);
      assert.equal(await readFile(`${bundle}/${blob}`, 'utf8'), 'precious');
    }
  });

  test('no link is followed in the directory', async (t) => {
    const elsewhere = await tempDir(t);
    for (const place of ['blobs/sha256', 'repositories', 'repositories/a', 'repositories/a/_tags', 'uploads', 'damaged']) {
      const root = await tempDir(t);
      const first = await disk(t, on(root));
      await pushImage(first.call, 'a', {}, 'v1');
      await stop(first);
      await rm(`${root}/${place}`, { recursive: true, force: true });
      await symlink(elsewhere, `${root}/${place}`);
      await rejectsWith(openDiskContent(nodeFileSystem, root), 'E_NOT_REGULAR', /symbolic link/);
      assert.deepEqual(
        (await readdir(root)).filter((name) => name.startsWith('.')),
        [],
        'the lock is let go',
      );
    }
    const root = await tempDir(t);
    const { call } = await disk(t, on(root));
    const digest = await pushBlob(call, 'a', bytes(100));
    const path = `${root}/blobs/${digest.replace(':', '/')}`;
    await rename(path, `${elsewhere}/secret`);
    await symlink(`${elsewhere}/secret`, path);
    assertRefused(await call('GET', `/v2/a/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
  });

  test('a damaged tag file is that tag gone, said to the operator, and healed by a push or a delete', async (t) => {
    const root = await tempDir(t);
    const first = await disk(t, on(root));
    const image = await pushImage(first.call, 'a', {}, 'good');
    for (const tag of ['pushed', 'deleted'])
      await first.call('PUT', `/v2/a/manifests/${tag}`, { body: image.bytes, headers: { 'content-type': image.mediaType } });
    await stop(first);
    for (const tag of ['pushed', 'deleted']) await writeFile(`${root}/repositories/a/_tags/${tag}`, 'sha256:rotten');
    const warnings: string[] = [];
    const { call } = await disk(t, on(root, nodeFileSystem, { warn: (message) => warnings.push(message) }));
    assert.deepEqual(JSON.parse((await call('GET', '/v2/a/tags/list')).body.toString()).tags, ['good']);
    assertRefused(await call('GET', '/v2/a/manifests/pushed'), 404, 'MANIFEST_UNKNOWN');
    assert.deepEqual(warnings.map((text) => /a:(\w+) is damaged/.exec(text)?.[1]).sort(), ['deleted', 'pushed']);
    await call('PUT', '/v2/a/manifests/pushed', { body: image.bytes, headers: { 'content-type': image.mediaType } });
    assert.equal((await call('DELETE', '/v2/a/manifests/deleted')).status, 202);
    assert.deepEqual(await readdir(`${root}/repositories/a/_tags`), ['good', 'pushed']);
  });

  test('names as long as they may be, and tags that differ in case', async (t) => {
    const root = await tempDir(t);
    const first = await disk(t, on(root));
    const names = ['x'.repeat(255), `${'a/'.repeat(127)}b`];
    const tag = 'T'.repeat(128);
    for (const name of names) {
      await pushImage(first.call, name, {}, tag);
      await pushImage(first.call, name, {}, tag.toLowerCase());
    }
    await stop(first);
    const { call } = await disk(t, on(root));
    for (const name of names)
      assert.deepEqual(JSON.parse((await call('GET', `/v2/${name}/tags/list`)).body.toString()).tags, [tag, tag.toLowerCase()]);
  });

  test('other programs find an OCI image layout: one entry per tag, written after a change and at the end', async (t) => {
    const root = await tempDir(t);
    const pending: (() => void)[] = [];
    const timer = (run: () => void) => {
      pending.push(run);
      return () => undefined;
    };
    const first = await disk(t, on(root, nodeFileSystem, { timer }));
    const entries = async () =>
      (JSON.parse(await readFile(`${root}/index.json`, 'utf8')) as { manifests: (Descriptor & { annotations: object })[] })
        .manifests;
    assert.equal(await readFile(`${root}/oci-layout`, 'utf8'), '{"imageLayoutVersion":"1.0.0"}');
    assert.deepEqual(await entries(), []);
    const image = await pushImage(first.call, 'team/b', {}, 'v1');
    await pushImage(first.call, 'team/a', {}, 'v1');
    assert.equal(pending.length, 1, 'two pushes, one writing');
    assert.deepEqual(await entries(), [], 'not on the path of a push');
    pending[0]?.();
    while ((await entries()).length === 0) await setImmediate();
    const names = async () => (await entries()).map(({ annotations }) => Object.values(annotations));
    assert.deepEqual(await names(), [Array(2).fill('team/a:v1'), Array(2).fill('team/b:v1')]);
    const [, entry] = await entries();
    assert.deepEqual(
      { mediaType: entry?.mediaType, digest: entry?.digest, size: entry?.size },
      { mediaType: image.mediaType, digest: image.digest, size: image.size },
    );
    await first.call('DELETE', '/v2/team/a/manifests/v1');
    await stop(first);
    assert.deepEqual(await names(), [Array(2).fill('team/b:v1')]);
    const store = createBlobStore(nodeFileSystem, root);
    assert.deepEqual(await store.readWhole(entry as Descriptor, 10_000), image.bytes);
    for (const { digest, size } of JSON.parse(image.bytes.toString()).layers) await store.readWhole({ digest, size }, 10_000);

    for (const wrong of ['', '{}', '{"schemaVersion":2,"manifests":[{"mediaType":"x/y"}]}']) {
      await writeFile(`${root}/index.json`, wrong);
      const again = await openDiskContent(nodeFileSystem, root);
      assert.deepEqual(await names(), [Array(2).fill('team/b:v1')], `made anew at the start: ${wrong}`);
      await again.close();
    }
  });

  test('bytes lie once, named for their digest, and go with the last repository that has them', async (t) => {
    const root = await tempDir(t);
    const { call } = await disk(t, on(root));
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
    const { call } = await disk(t, on(root));
    const subject = { mediaType: MEDIA_TYPE.ociManifest, digest: digestOf(bytes(5)), size: 5 };
    const image = await pushImage(call, 'a', { subject }, 'v1');
    const { config, layers } = JSON.parse(image.bytes.toString());
    await call('DELETE', `/v2/a/manifests/${image.digest}`);
    for (const { digest } of [config, ...layers]) await call('DELETE', `/v2/a/blobs/${digest}`);
    assert.deepEqual(await filesBelow(root), []);
  });

  test('a blob damaged on disk is whole again after the next push', async (t) => {
    const root = await tempDir(t);
    const { call } = await disk(t, on(root));
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
    let full = false;
    const fs: FileSystem = {
      ...nodeFileSystem,
      async create(path, mode) {
        const handle = await nodeFileSystem.create(path, mode);
        const write = async (chunk: Uint8Array): Promise<void> => {
          // The bytes of the upload: what is written about it is not what fills the disk.
          if (full && !path.endsWith('.json'))
            throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
          await handle.write(chunk);
        };
        return { ...handle, write };
      },
    };
    const { call } = await disk(t, on(root, fs));
    full = true;
    const body = bytes(3_000_000);
    const digest = digestOf(body);
    const reply = await call('POST', `/v2/a/blobs/uploads/?digest=${digest}`, { body });
    assertRefused(reply, 507, 'DENIED');
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
    const { call } = await disk(t, on(root, fs));
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

  test('a blob that is mounted while its only repository deletes it is either there or was not promised', async (t) => {
    const root = await tempDir(t);
    const gate = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    let armed = false;
    const fs: FileSystem = {
      ...nodeFileSystem,
      async stat(path) {
        const found = await nodeFileSystem.stat(path);
        if (armed && path.startsWith(`${root}/blobs/`)) {
          armed = false;
          reached.resolve();
          await gate.promise;
        }
        return found;
      },
    };
    const { call } = await disk(t, on(root, fs));
    const digest = await pushBlob(call, 'old', bytes(500));
    armed = true;
    const mounted = call('POST', `/v2/new/blobs/uploads/?mount=${digest}&from=old`);
    await reached.promise;
    const deleted = call('DELETE', `/v2/old/blobs/${digest}`);
    await Promise.race([deleted, setTimeout(100)]); // long enough for a delete that does not wait its turn
    gate.resolve();
    assert.equal((await deleted).status, 202);
    assert.equal((await mounted).status, 201);
    assert.equal((await call('GET', `/v2/new/blobs/${digest}`)).status, 200);
  });

  test('a tag whose writing failed half-way says the same before and after a restart', async (t) => {
    const root = await tempDir(t);
    let broken = false;
    const fs: FileSystem = {
      ...nodeFileSystem,
      async syncDir(path) {
        if (broken && path.endsWith('/_tags')) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
        await nodeFileSystem.syncDir(path);
      },
    };
    const first = await disk(t, on(root, fs));
    await pushImage(first.call, 'a', {}, 'v1');
    const newer = await pushImage(first.call, 'a', {});
    broken = true;
    const headers = { 'content-type': newer.mediaType };
    assertRefused(await first.call('PUT', '/v2/a/manifests/v1', { body: newer.bytes, headers }), 500, 'UNKNOWN');
    const meant = (await first.call('HEAD', '/v2/a/manifests/v1')).headers['docker-content-digest'];
    await stop(first);
    const again = await disk(t, on(root));
    assert.equal((await again.call('HEAD', '/v2/a/manifests/v1')).headers['docker-content-digest'], meant);
  });
});
