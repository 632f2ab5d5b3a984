/**
 * `npm run bench -- --serve`: our writable registry beside distribution 2.8, distribution 3 and olareg: pushing into each, and pulling by crane,
 * containerd and curl. Wall time is the client's; CPU and memory are the server's.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Containerd, startContainerd, writeCertsDir } from '../../test/support/real/containerd.ts';
import { createSuiteScope } from '../../test/support/real/scope.ts';
import type { Ending } from '../../test/support/temp-dir.ts';
import { measure } from './measure.ts';
import * as peers from './peers.ts';
import type { Row, Sample } from './rounds.ts';
import { SERVERS, startServing } from './servers.ts';
import { type BenchImage, makeSet, pushSet, type SetName } from './sets.ts';

type Options = Readonly<{ scale: number; runs: number }>;
const AT_ONCE = 200;
/** What the images are called on the node: the name leads through hosts.toml to the registry under test. */
const ORIGIN = 'bench.example';

export async function benchServing(set: SetName, directory: string, { scale, runs }: Options): Promise<readonly Row[]> {
  const images = makeSet(set, scale);
  const rows = new Map<string, Row & { samples: Sample[] }>();
  const keep = (stage: string, kind: (typeof SERVERS)[number], sample: Sample): void => {
    const key = `${stage}\n${kind}`;
    const row = rows.get(key) ?? { set, stage, name: kind, role: kind.startsWith('ours') ? 'ours' : 'peer', samples: [] };
    rows.set(key, row);
    row.samples.push(sample);
    console.error(
      `  ${stage}, ${kind}: ${(sample.wallMs / 1000).toFixed(2)} s, server ${(sample.cpuMs / 1000).toFixed(2)} s CPU`,
    );
  };
  for (let i = 0; i < runs; i++)
    for (const kind of SERVERS) {
      const scope = createSuiteScope();
      try {
        const fresh = mkdtempSync(join(directory, 'serve-'));
        scope.after(() => rmSync(fresh, { recursive: true, force: true }));
        const server = await startServing(scope, kind, fresh);
        const site: peers.Site = { host: server.host, directory: fresh, images };
        const clients = await clientsOf(scope, site);
        for (const [stage, act] of Object.entries(clients)) keep(stage, kind, await costOf(server.pid, act));
      } finally {
        await scope.end();
      }
    }
  return [...rows.values()].sort((a, b) => a.stage.localeCompare(b.stage));
}

type Act = () => Promise<unknown>;

/** In order: the first fills the registry. */
async function clientsOf(scope: Ending, site: peers.Site): Promise<Readonly<Record<string, Act>>> {
  const { host, directory, images } = site;
  const certsDir = await writeCertsDir(join(directory, 'certs'), {
    [ORIGIN]: `server = "http://${host}"\n[host]\n[host."http://${host}"]\n  capabilities = ["pull", "resolve"]\n`,
  });
  const containerd = await startContainerd(scope, { certsDir });
  return {
    '1 push by four of fetch': () => pushSet(host, images),
    '2 crane pull': () => measure(peers.pull(site, 'crane', join(directory, 'crane'))),
    '3 containerd, image by image': () => fetchByContainerd(containerd, certsDir, images),
    '4 curl, 8 at once, to nowhere': () => measure(curlToNowhere(site, 8)),
    [`5 curl, ${AT_ONCE} at once, to nowhere`]: () => measure(curlToNowhere(site, AT_ONCE)),
  };
}

/** Not `images pull`: the layers are plain bytes, which nobody can unpack; what the registry sees is the same. */
async function fetchByContainerd(containerd: Containerd, certsDir: string, images: readonly BenchImage[]): Promise<void> {
  for (const { repository, tag } of images) {
    const flags = ['--hosts-dir', certsDir, '--platform', 'linux/amd64'];
    const { code, stderr } = await containerd.ctr('-n', 'bench', 'content', 'fetch', ...flags, `${ORIGIN}/${repository}:${tag}`);
    if (code !== 0) throw new Error(`ctr content fetch ended with ${code}: ${stderr.slice(-1000)}`);
  }
}

/** At least as many downloads as run at once, the same blob more than once when there are fewer. */
function curlToNowhere(site: peers.Site, atOnce: number) {
  const command = peers.curlBlobs(site, '/dev/null');
  const config = join(site.directory, `curl.${atOnce}`);
  const text = readFileSync(join(site.directory, 'curl.blobs'), 'utf8').replaceAll(/output = .*/g, 'output = "/dev/null"');
  const count = text.split('\n').length >> 1;
  writeFileSync(config, text.repeat(Math.max(1, Math.ceil(atOnce / count))));
  const [program = 'curl'] = command.argv;
  const flags = ['-s', '-f', '--parallel', '--parallel-immediate', '--parallel-max', String(atOnce), '--config', config];
  return { argv: [program, ...flags], cwd: site.directory };
}

const MS_PER_TICK = 10;

/** Wall time of the client, CPU and peak memory of the server process meanwhile. */
async function costOf(pid: number, act: Act): Promise<Sample> {
  writeFileSync(`/proc/${pid}/clear_refs`, '5'); // the peak starts anew: proc(5)
  const before = cpuOf(pid);
  const started = performance.now();
  await act();
  const wallMs = performance.now() - started;
  const rss = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  return { wallMs, cpuMs: cpuOf(pid) - before, rssMiB: rss / 1024, requests: undefined };
}

/** User and system time of a process: fields 14 and 15, counted after the name in brackets. */
function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
}
