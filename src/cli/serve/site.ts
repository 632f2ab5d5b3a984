import type { FileSystem } from '../../files/file-system.ts';
import { type DiskContent, openDiskContent } from '../../serve/disk-content.ts';
import { type CollectRegularly, collectRegularly } from '../../serve/garbage.ts';
import type { Metrics } from '../../serve/metrics.ts';
import { scrubRegularly } from '../../serve/scrub.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { announce } from './announce.ts';
import { certificateSource, openCertificates } from './certificates.ts';
import { checkExposure } from './exposure.ts';
import { parseListen } from './listen-address.ts';
import { durationFlag, floorFlag, LONGEST_TIMER_MS } from './quantities.ts';
import { runRegistry } from './run-registry.ts';
import { usersFor } from './users.ts';

const DAY_MS = 86_400_000;
const DEFAULT_FLOOR = { percent: 5, mostBytes: 10 * 1024 ** 3 };

/** 0 as the time between two runs is never. */
type Care = Readonly<{ collect: CollectRegularly; scrubMs: number }>;

/** The site's own registry in a directory. @throws BundleError E_USAGE, E_LOCKED, E_DISK, E_NETWORK, E_TLS */
export async function serveSite(args: Args, context: Context, directory: string): Promise<void> {
  const warn = (text: string): void => context.stderr(`warning: ${text}\n`);
  const address = parseListen(args.listen ?? '127.0.0.1:5000');
  const care = careOf(args);
  const users = await usersFor(args, context, warn);
  const source = certificateSource(args, context, args['tls-dir'] ?? `${directory}/tls`);
  checkExposure(args, { address, writable: true, users: users !== undefined, tls: source !== undefined });
  const minFreeBytes = await floorBytes(args, context.fs, directory);
  const content = await openDiskContent(context.fs, directory, {
    breakLock: args['break-lock'] ?? false,
    command: 'bundle serve --writable',
    minFreeBytes,
    now: context.now,
    warn,
  });
  try {
    // After the store, which wants its directory to itself when it makes it.
    const certificates = source && (await openCertificates(source, context.now(), warn));
    const stats = followed(content);
    const served = {
      content,
      readOnly: false,
      address,
      users,
      certificates,
      probe: async () => {
        const { freeBytes } = await stats.read();
        return { disk: freeBytes < minFreeBytes ? 'below --min-free: uploads are refused' : 'ok' };
      },
      stats: {
        openUploads: stats.openUploads,
        store: async () => ({ ...(await stats.read()), floorBytes: minFreeBytes }),
      },
      warn,
      beside: (metrics: Metrics | undefined) => regularCare(content, care, metrics),
    };
    await runRegistry(args, context, served, (url, metricsUrl) =>
      announce(args, context, {
        what: `${directory}, which takes pushes,`,
        fields: { directory, writable: true },
        url,
        metricsUrl,
        own: certificates?.own,
        address,
        writable: true,
        users: users !== undefined,
        anonymousPull: args['anonymous-pull'] ?? false,
      }),
    );
  } finally {
    await content.close();
  }
}

function careOf(args: Args): Care {
  const untaggedMs = durationFlag(args, 'delete-untagged-after');
  return {
    collect: {
      everyMs: durationFlag(args, 'gc-every', { zero: true, mostMs: LONGEST_TIMER_MS }) ?? DAY_MS,
      graceMs: durationFlag(args, 'gc-grace') ?? DAY_MS,
      ...(untaggedMs === undefined ? {} : { untaggedMs }),
    },
    scrubMs: durationFlag(args, 'scrub-every', { zero: true, mostMs: LONGEST_TIMER_MS }) ?? 0,
  };
}

/** Of the nearest directory that is there: the registry's own may not be made yet. */
async function floorBytes(args: Args, fs: FileSystem, directory: string): Promise<number> {
  const floor = floorFlag(args, 'min-free') ?? { percent: DEFAULT_FLOOR.percent };
  if ('bytes' in floor) return floor.bytes;
  await fs.mkdir(directory);
  const share = Math.floor(((await fs.totalBytes(directory)) * floor.percent) / 100);
  return args['min-free'] === undefined ? Math.min(share, DEFAULT_FLOOR.mostBytes) : share;
}

/** The last known number of uploads is good enough for a figure that is asked for without waiting. */
function followed(content: DiskContent) {
  let openUploads = 0;
  return {
    openUploads: () => openUploads,
    async read() {
      const stats = await content.stats();
      openUploads = stats.openUploads;
      return stats;
    },
  };
}

/** @returns what ends it, after a run that is under way has come to a good place */
function regularCare(content: DiskContent, { collect, scrubMs }: Care, metrics: Metrics | undefined): () => Promise<void> {
  const counted: CollectRegularly = {
    ...collect,
    done: (collected) => metrics?.onCollection({ ...collected, failed: false }),
    failed: () => metrics?.onCollection({ manifests: 0, blobs: 0, bytes: 0, failed: true }),
  };
  const running = [
    ...(collect.everyMs === 0 ? [] : [collectRegularly(content, counted)]),
    ...(scrubMs === 0 ? [] : [scrubRegularly(content, { everyMs: scrubMs })]),
  ];
  return async () => {
    await Promise.all(running.map((each) => each.stop()));
  };
}
