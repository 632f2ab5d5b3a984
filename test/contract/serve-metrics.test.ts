import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { createMetrics } from '../../src/serve/metrics.ts';
import { serveMetrics } from '../../src/serve/metrics-server.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { bench, bytes, pushBlob, type Store } from './serve-harness.ts';

const MEMORY: Store = { name: 'memory', open: async () => createMemoryContent() };
const CANARY = 'canary-5f2c';

const gauges = {
  openUploads: () => 3,
  store: async () => ({ blobs: 7, freeBytes: 1000, floorBytes: 10 }),
  certificateExpires: () => 1_800_000_000,
  droppedLogLines: () => 2,
};

test('requests, bytes, logins and the store are counted, and no label has a name that a client chose', async (t) => {
  const metrics = await createMetrics('1.2.3', gauges);
  const { call } = await bench(t, MEMORY, {
    auth: { kind: 'basic', users: { ann: 'right' } },
    onRequest: metrics.onRequest,
    onResponse: metrics.onResponse,
  });
  const ann = { authorization: `Basic ${Buffer.from('ann:right').toString('base64')}` };
  await pushBlob((method, path, options) => call(method, path, { ...options, headers: ann }), `x/${CANARY}`, bytes(1000));
  await call('GET', `/v2/?${CANARY}`, {
    headers: { authorization: `Basic ${Buffer.from(`${CANARY}:${CANARY}`).toString('base64')}` },
  });
  await call('PROPFIND', `/v2/${CANARY}/tags/list`, { headers: { 'user-agent': CANARY } });
  metrics.onCollection({ blobs: 4, manifests: 1, bytes: 99, failed: false });
  const server = await serveMetrics(metrics, '127.0.0.1', 0);
  t.after(() => server.close());
  const reply = await fetch(server.url);
  const text = await reply.text();
  assert.match(reply.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  for (const line of [
    'bundle_registry_requests_total{method="POST",route="uploads",status="201"} 1',
    'bundle_registry_requests_total{method="GET",route="ping",status="401"} 1',
    'bundle_registry_requests_total{method="other",route="tags",status="401"} 1',
    'bundle_registry_received_bytes_total 1000',
    'bundle_registry_requests_in_flight 0',
    'bundle_registry_logins_refused_total{status="401"} 1',
    'bundle_registry_open_uploads 3',
    'bundle_registry_blobs 7',
    'bundle_registry_free_bytes 1000',
    'bundle_registry_floor_bytes 10',
    'bundle_registry_store_up 1',
    'bundle_registry_certificate_expiry_seconds 1800000000',
    'bundle_registry_access_log_dropped_lines 2',
    'bundle_registry_gc_runs_total{outcome="done"} 1',
    'bundle_registry_gc_removed_total{kind="blob"} 4',
    'bundle_registry_gc_removed_bytes_total 99',
  ])
    assert.ok(text.includes(`\n${line}\n`), line);
  assert.match(text, /bundle_registry_build_info\{version="1\.2\.3",node="v\d/);
  assert.ok(!text.includes(CANARY));
});

test('nothing else is served there, and a store that fails is a figure', async (t) => {
  const metrics = await createMetrics('1', { ...gauges, store: () => Promise.reject(new Error('EIO')) });
  const server = await serveMetrics(metrics, '127.0.0.1', 0);
  t.after(() => server.close());
  for (const [method, path] of [
    ['GET', '/'],
    ['GET', '/v2/'],
    ['POST', '/metrics'],
  ] as const)
    assert.equal((await fetch(new URL(path, server.url), { method })).status, 404);
  assert.match(await (await fetch(server.url)).text(), /\nbundle_registry_store_up 0\n/);
  await rejectsWith(serveMetrics(metrics, '127.0.0.1', Number(new URL(server.url).port)), 'E_NETWORK', /metrics/);
});
