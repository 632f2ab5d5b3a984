import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { describe, test } from 'node:test';
import { digestOf } from '../../src/core/digest.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import { isWritable } from '../../src/serve/content.ts';
import { startRegistry } from '../../src/serve/server.ts';
import { verifiedContent } from '../../src/serve/verified-content.ts';
import { assertRefused, bench, bytes, caller, pushImage, STORES } from './serve-harness.ts';

const random = digestOf(bytes(20));

for (const store of STORES) {
  describe(`read-only over ${store.name}`, () => {
    test('everything is read as before; every write is 405 UNSUPPORTED and nothing vanishes', async (t) => {
      const { call: write, content } = await bench(t, store);
      const subject = { mediaType: MEDIA_TYPE.ociManifest, digest: random, size: 20 };
      const image = await pushImage(write, 'ro', { subject }, 'v1');
      const blob = (JSON.parse(image.bytes.toString()) as { config: { digest: string } }).config.digest;
      const registry = await startRegistry({ content, readOnly: true });
      const agent = new Agent({ keepAlive: true });
      t.after(async () => {
        agent.destroy();
        await registry.close(0);
      });
      const call = caller(registry.url, agent);
      const paths = ['/v2/ro/manifests/v1', `/v2/ro/manifests/${image.digest}`, `/v2/ro/blobs/${blob}`];
      const others = [
        '/v2/',
        '/v2/ro/blobs/uploads/',
        `/v2/ro/blobs/uploads/?mount=${blob}&from=ro`,
        '/v2/ro/blobs/uploads/x',
        '/v2/ro/manifests/new',
        `/v2/ro/manifests/${random}`,
        '/v2/ro/tags/list',
        `/v2/ro/referrers/${random}`,
        '/v2/no/such/path',
      ];
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
        for (const path of [...paths, ...others]) {
          const reply = await call(method, path, { body: bytes(100) });
          assertRefused(reply, 405, 'UNSUPPORTED');
          assert.equal(reply.headers.allow, 'GET, HEAD');
        }
      }
      for (const path of paths) {
        assert.equal((await call('GET', path)).status, 200);
        assert.equal((await call('HEAD', path)).status, 200);
      }
      assert.deepEqual(JSON.parse((await call('GET', '/v2/ro/tags/list')).body.toString()).tags, ['v1']);
      assert.equal(JSON.parse((await call('GET', `/v2/ro/referrers/${random}`)).body.toString()).manifests.length, 1);
      assert.equal((await call('GET', '/v2/ro/blobs/uploads/x')).status, 404);
    });

    test('content that can not be written makes a read-only registry by itself', async (t) => {
      const { content } = await bench(t, store);
      const reading = verifiedContent(content);
      assert.equal(isWritable(reading), false);
      const registry = await startRegistry({ content: reading });
      t.after(() => registry.close(0));
      const agent = new Agent();
      assertRefused(await caller(registry.url, agent)('POST', '/v2/x/blobs/uploads/'), 405, 'UNSUPPORTED');
    });
  });
}
