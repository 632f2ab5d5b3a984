import { LIMITS } from '../../core/limits.ts';
import type { RegistryContent } from '../../serve/content.ts';
import { logLine } from '../../serve/log-line.ts';
import { createLogSink, type LogSink, type LogTarget } from '../../serve/log-sink.ts';
import { fileTarget } from '../../serve/log-target.ts';
import type { Gauges, Metrics } from '../../serve/metrics.ts';
import { type Registry, startRegistry } from '../../serve/server.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { VERSION } from '../version.ts';
import type { Certificates } from './certificates.ts';
import type { ListenAddress } from './listen-address.ts';
import { parseListen } from './listen-address.ts';
import { durationFlag } from './quantities.ts';
import type { Users } from './users.ts';

export type ServedRegistry = Readonly<{
  content: RegistryContent;
  readOnly: boolean;
  address: ListenAddress;
  users: Users | undefined;
  certificates: Certificates | undefined;
  probe: NonNullable<Parameters<typeof startRegistry>[0]['probe']>;
  stats: Pick<Gauges, 'openUploads' | 'store'>;
  warn: (text: string) => void;
  /** Begins what goes on beside the server; what comes back ends it. */
  beside?: (metrics: Metrics | undefined) => () => Promise<void>;
}>;

export type Announce = (url: string, metricsUrl: string | undefined) => void;

const GRACE_MS = 30_000;
/** Signals come in seconds, files in minutes: polling sees a file that is replaced, mounted anew or linked elsewhere, on any file system. */
const REFRESH_MS = 10_000;

/**
 * Serves until the signal comes, then lets running answers end. SIGHUP, and every ten seconds a look at the files, takes new certificates and users.
 * @throws BundleError E_USAGE, E_NETWORK, E_TLS, E_DISK before it serves
 */
export async function runRegistry(args: Args, context: Context, served: ServedRegistry, announce: Announce): Promise<void> {
  const { users, certificates, warn } = served;
  const graceMs = durationFlag(args, 'grace', { zero: true, mostMs: 3_600_000 }) ?? GRACE_MS;
  const metricsAddress = args.metrics === undefined ? undefined : parseListen(args.metrics, 'metrics');
  const log = await logFor(args, context, warn);
  try {
    const metrics = metricsAddress === undefined ? undefined : await metricsFor(served, log);
    const registry = await startRegistry({
      content: served.content,
      readOnly: served.readOnly,
      acceptSparse: !args['complete-only'],
      ...served.address,
      ...(certificates === undefined ? {} : { tls: certificates.current() }),
      ...(users === undefined ? {} : { auth: users.auth }),
      probe: served.probe,
      onRequest: (record) => metrics?.onRequest(record),
      onResponse(record) {
        metrics?.onResponse(record);
        log?.line(logLine(record, context.now()));
      },
    });
    try {
      const metricsServer = await serveMetricsAt(metrics, metricsAddress);
      const stopBeside = served.beside?.(metrics);
      const stopRefreshing = refreshing(context, registry, served, log);
      context.longRunning?.endWithin(graceMs + LIMITS.shutdownMs);
      announce(registry.url, metricsServer?.url);
      await ended(context.signal);
      stopRefreshing();
      await registry.close(graceMs);
      await Promise.all([stopBeside?.(), metricsServer?.close()]);
    } finally {
      await registry.close(0);
    }
  } finally {
    await log?.close();
  }
}

async function serveMetricsAt(metrics: Metrics | undefined, address: ListenAddress | undefined) {
  if (metrics === undefined || address === undefined) return undefined;
  const { serveMetrics } = await import('../../serve/metrics-server.ts');
  return serveMetrics(metrics, address.host, address.port);
}

async function metricsFor({ stats, certificates }: ServedRegistry, log: LogSink | undefined): Promise<Metrics> {
  const { createMetrics } = await import('../../serve/metrics.ts');
  return createMetrics(VERSION, {
    ...stats,
    certificateExpires: () => certificates?.expires(),
    droppedLogLines: () => log?.dropped() ?? 0,
  });
}

async function logFor(args: Args, context: Context, warn: (text: string) => void): Promise<LogSink | undefined> {
  const path = args['access-log'];
  if (path === undefined) return undefined;
  const target = path === '-' ? streamTarget(context) : await fileTarget(context.fs, path);
  return createLogSink(target, (error) => warn(`access log ${path}: ${(error as Error).message}; lines are lost`));
}

const streamTarget = ({ longRunning, stdout }: Context): LogTarget => ({
  write: async (bytes) =>
    longRunning === undefined ? stdout(Buffer.from(bytes).toString('utf8')) : longRunning.write('stdout', bytes),
  reopen: async () => undefined,
  close: async () => undefined,
});

/** @returns what ends it */
function refreshing(
  context: Context,
  registry: Registry,
  { users, certificates, warn }: ServedRegistry,
  log: LogSink | undefined,
): () => void {
  let running = false;
  const refresh = async (): Promise<void> => {
    if (running) return;
    running = true;
    try {
      await users?.refresh();
      const certificate = await certificates?.refresh();
      if (certificate !== undefined) registry.setCertificate(certificate);
    } catch (error) {
      warn(`reading users and certificates again: ${(error as Error).message}`);
    } finally {
      running = false;
    }
  };
  context.longRunning?.onHangup(() => {
    log?.reopen();
    void refresh();
  });
  const timer = setInterval(() => void refresh(), REFRESH_MS).unref();
  return () => clearInterval(timer);
}

const ended = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
