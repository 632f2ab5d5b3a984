import type { Histogram } from 'prom-client';
import { isBundleError } from '../core/errors.ts';
import type { RequestRecord, ResponseRecord } from './access-log.ts';

/** What is looked at when somebody asks, not counted along. */
export type Gauges = Readonly<{
  openUploads(): number;
  /** undefined: not known (a bundle has none). */
  store(): Promise<Readonly<{ blobs: number; freeBytes: number; floorBytes: number }>> | undefined;
  /** Seconds since 1970; undefined without TLS. */
  certificateExpires(): number | undefined;
  droppedLogLines(): number;
}>;

export type Collected = Readonly<{ blobs: number; manifests: number; bytes: number; failed: boolean }>;

export type Metrics = Readonly<{
  onRequest(record: RequestRecord): void;
  onResponse(record: ResponseRecord): void;
  onCollection(outcome: Collected): void;
  /** The text exposition format. */
  text(): Promise<Readonly<{ type: string; body: string }>>;
}>;

/** Methods come from clients: an unknown one is "other", or whoever sends random ones fills our memory. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']);
const SECONDS = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300];
/** A Gauge that is asked makes no promise of its name: all of ours begin so. */
const PREFIX = 'bundle_registry_';

/** Every label has few values: methods, kinds of routes and statuses that we choose ourselves; never a name, an address or a path. */
export async function createMetrics(version: string, gauges: Gauges): Promise<Metrics> {
  const { Counter, Gauge, Histogram: HistogramClass, Registry, collectDefaultMetrics } = await import('prom-client');
  const registry = new Registry();
  const registers = [registry];
  const named = (name: string, help: string) => ({ name: `${PREFIX}${name}`, help, registers });
  collectDefaultMetrics({ register: registry });

  const requests = new Counter({
    ...named('requests_total', 'Answers, by method, kind of route and status (0: cut off before one)'),
    labelNames: ['method', 'route', 'status'],
  });
  const duration: Histogram<'method' | 'route'> = new HistogramClass({
    ...named('request_duration_seconds', 'From the request to the end of its answer'),
    labelNames: ['method', 'route'],
    buckets: SECONDS,
  });
  const inFlight = new Gauge(named('requests_in_flight', 'Requests that are being answered'));
  const received = new Counter(named('received_bytes_total', 'Bytes of request bodies'));
  const sent = new Counter(named('sent_bytes_total', 'Bytes of answer bodies'));
  const cut = new Counter(named('answers_cut_total', 'Answers that ended before their length'));
  const refused = new Counter({
    ...named('logins_refused_total', 'Logins that were refused: wrong (401), not allowed (403), too many at once (429)'),
    labelNames: ['status'],
  });
  const failures = new Counter({ ...named('failures_total', 'Failures of our own, by code'), labelNames: ['code'] });
  const collections = new Counter({ ...named('gc_runs_total', 'Garbage collections'), labelNames: ['outcome'] });
  const collected = new Counter({ ...named('gc_removed_total', 'What garbage collections removed'), labelNames: ['kind'] });
  const collectedBytes = new Counter(named('gc_removed_bytes_total', 'Bytes that garbage collections removed'));
  new Gauge({
    ...named('open_uploads', 'Upload sessions that are open'),
    collect() {
      this.set(gauges.openUploads());
    },
  });
  const [blobs, free, floor] = [
    new Gauge(named('blobs', 'Blobs and manifests in the store')),
    new Gauge(named('free_bytes', 'Bytes free on the file system of the store')),
    new Gauge(named('floor_bytes', 'Free bytes below which uploads are refused')),
  ];
  const up = new Gauge(named('store_up', '1 when the store could be asked'));
  const askStore = async (): Promise<void> => {
    try {
      const stats = await gauges.store();
      up.set(1);
      if (stats === undefined) return;
      blobs.set(stats.blobs);
      free.set(stats.freeBytes);
      floor.set(stats.floorBytes);
    } catch {
      up.set(0);
    }
  };
  new Gauge({
    ...named('certificate_expiry_seconds', 'When the TLS certificate ends, seconds since 1970 (0: no TLS)'),
    collect() {
      this.set(gauges.certificateExpires() ?? 0);
    },
  });
  new Gauge({
    ...named('access_log_dropped_lines', 'Lines that a slow or broken access log lost'),
    collect() {
      this.set(gauges.droppedLogLines());
    },
  });
  new Gauge({ ...named('build_info', 'Always 1'), labelNames: ['version', 'node'] }).set({ version, node: process.version }, 1);

  return {
    onRequest: () => inFlight.inc(),
    onResponse(record) {
      inFlight.dec();
      const method = METHODS.has(record.method) ? record.method : 'other';
      const route = record.route ?? 'none';
      requests.inc({ method, route, status: String(record.status) });
      duration.observe({ method, route }, record.milliseconds / 1000);
      received.inc(record.received);
      sent.inc(record.sent);
      if (!record.whole) cut.inc();
      const wrongLogin = record.status === 401 && record.authorization !== undefined;
      if (wrongLogin || record.status === 403 || (record.status === 429 && record.user === undefined))
        refused.inc({ status: String(record.status) });
      if (record.error !== undefined) failures.inc({ code: isBundleError(record.error) ? record.error.code : 'E_UNEXPECTED' });
    },
    onCollection(outcome) {
      collections.inc({ outcome: outcome.failed ? 'failed' : 'done' });
      collected.inc({ kind: 'blob' }, outcome.blobs);
      collected.inc({ kind: 'manifest' }, outcome.manifests);
      collectedBytes.inc(outcome.bytes);
    },
    async text() {
      await askStore();
      return { type: registry.contentType, body: await registry.metrics() };
    },
  };
}
