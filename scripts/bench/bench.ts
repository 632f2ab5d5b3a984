/**
 * `npm run bench`: pull and load beside curl, crane, skopeo, oras and regctl, in one run on one machine, so that ratios mean something where
 * seconds do not. Needs scripts/interop/install.sh. Flags: --set big|forty|many (repeatable, default forty), --scale 1 (factor on sizes), --runs 2 (the
 * best counts), --no-peers (ours and the floor only), --json FILE.
 */
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRegistry } from '../../test/support/real/registries.ts';
import { createSuiteScope } from '../../test/support/real/scope.ts';
import type { Ending } from '../../test/support/temp-dir.ts';
import { type Command, type Cost, measure } from './measure.ts';
import { isSetName, makeSet, pushSet, type SetName } from './sets.ts';
import * as subjects from './subjects.ts';

type Row = Readonly<{ set: SetName; stage: 'pull' | 'load'; what: string; runs: readonly Cost[] }>;
type Options = Readonly<{ scale: number; runs: number; peers: boolean }>;

const { values } = parseArgs({
  options: {
    set: { type: 'string', multiple: true, default: ['forty'] },
    scale: { type: 'string', default: '1' },
    runs: { type: 'string', default: '2' },
    'no-peers': { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});

const best = (runs: readonly Cost[]): Cost => runs.reduce((a, b) => (b.wallMs < a.wallMs ? b : a));

/** @throws Error when a name is no set or a number no number */
function optionsOf(): Options & { sets: SetName[] } {
  const sets = values.set.map((name) => {
    if (!isSetName(name)) throw new Error(`--set ${name}: want big, forty or many`);
    return name;
  });
  const [scale, runs] = [Number(values.scale), Number(values.runs)];
  if (!(scale > 0) || !Number.isInteger(runs) || runs < 1) throw new Error('--scale and --runs are positive numbers');
  return { sets, scale, runs, peers: !values['no-peers'] };
}

async function benchSet(t: Ending, set: SetName, options: Options): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), 'bundle-bench-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const images = makeSet(set, options.scale);
  const origin = await startRegistry(t, { kind: 'distribution 2.8' });
  await pushSet(origin.host, images);
  const blobs = new Map(images.flatMap((i) => i.blobs.map((b) => [b.digest, b.size] as const)));
  const bytes = [...blobs.values()].reduce((a, b) => a + b, 0);
  console.log(`\n${set}: ${images.length} images, ${blobs.size + images.length} blobs, ${(bytes / 1024 ** 2).toFixed(0)} MiB`);
  const site: subjects.Site = { host: origin.host, directory, images };
  subjects.writeManifest(site);
  const rows: Row[] = [];
  let serial = 0;
  const run = async (
    stage: Row['stage'],
    what: string,
    make: (fresh: string) => Command | Promise<Command>,
    keep?: (path: string) => void,
  ): Promise<void> => {
    const runs: Cost[] = [];
    for (let i = 0; i < options.runs; i++) {
      const fresh = join(directory, `out-${++serial}`);
      runs.push(await measure(await make(fresh)));
      if (keep !== undefined && i === options.runs - 1) keep(fresh);
      else rmSync(fresh, { recursive: true, force: true });
    }
    const row: Row = { set, stage, what, runs };
    rows.push(row);
    console.error(`  ${stage} ${what}: ${(best(runs).wallMs / 1000).toFixed(2)} s`);
  };

  let bundle = '';
  await measure(subjects.makeKeys(site));
  await measure(subjects.floor(site, join(directory, 'warm')));
  rmSync(join(directory, 'warm'), { recursive: true, force: true });
  await run('pull', 'floor: curl --parallel-max 8, no hash', (to) => subjects.floor(site, to));
  if (options.peers) await run('pull', 'crane pull --format=oci', (to) => subjects.cranePull(site, to));
  await run('pull', 'ours: lock', () => {
    rmSync(join(directory, 'bench.lock.json'), { force: true });
    return subjects.lock(site);
  });
  await run('pull', 'ours: pull --unsigned', (to) => subjects.pullUnsigned(site, to));
  await run(
    'pull',
    'ours: pull --key',
    (to) => subjects.pullSigned(site, to),
    (path) => {
      bundle = path;
    },
  );
  await run('pull', 'ours: pull again, nothing to do', () => subjects.pullSigned(site, bundle));

  await run('load', 'ours: verify', () => subjects.verify(site, bundle));
  let target = '';
  let state = '';
  /** A fresh registry for each run: what is there already would not be pushed. */
  const freshly = (make: (host: string, to: string) => Command) => async (to: string) => {
    target = (await startRegistry(t, { kind: 'distribution 2.8' })).host;
    state = join(directory, `state-${target.replace(':', '-')}`);
    return make(target, to);
  };
  if (options.peers) {
    await run(
      'load',
      'skopeo copy, per reference',
      freshly((host) => subjects.skopeoCopy(site, bundle, host)),
    );
    await run(
      'load',
      'oras cp, per reference',
      freshly((host) => subjects.orasCopy(site, bundle, host)),
    );
    await run(
      'load',
      'regctl image copy, per reference',
      freshly((host) => subjects.regctlCopy(site, bundle, host)),
    );
  }
  await run(
    'load',
    'ours: load (verify and push)',
    freshly((host) => subjects.load(site, bundle, host, state)),
  );
  await run('load', 'ours: load again, nothing to do', () => subjects.load(site, bundle, target, state));
  return rows;
}

const seconds = (ms: number): string => (ms / 1000).toFixed(2);

function print(rows: readonly Row[]): void {
  for (const stage of ['pull', 'load'] as const) {
    const own = rows.filter((row) => row.stage === stage);
    const reference = own.find(({ what }) => what.startsWith('floor'));
    const peer = own.find(({ what }) => what.startsWith(stage === 'pull' ? 'crane' : 'skopeo'));
    const ratio = (row: Row, to: Row | undefined): string =>
      to === undefined ? '-' : `${(best(row.runs).wallMs / best(to.runs).wallMs).toFixed(2)}x`;
    const names = stage === 'pull' ? ['floor', 'crane'] : ['', 'skopeo'];
    console.log(
      `\n${'what'.padEnd(40)}${'wall s'.padStart(8)}${'CPU s'.padStart(8)}${'MiB'.padStart(7)}  ${names.map((n) => (n ? `to ${n}` : '').padStart(10)).join('')}`,
    );
    for (const row of own) {
      const { wallMs, cpuMs, rssMiB } = best(row.runs);
      console.log(
        `${row.what.padEnd(40)}${seconds(wallMs).padStart(8)}${seconds(cpuMs).padStart(8)}${rssMiB.toFixed(0).padStart(7)}  ${[reference, peer].map((to) => (to === undefined ? '' : ratio(row, to)).padStart(10)).join('')}`,
      );
    }
  }
}

const { sets, ...options } = optionsOf();
const all: Row[] = [];
console.log(
  `${cpus().length} cores (${cpus()[0]?.model}), ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, Node ${process.version}; best of ${options.runs}`,
);
for (const set of sets) {
  const scope = createSuiteScope();
  try {
    const free = statfsSync(tmpdir());
    if (free.bavail * free.bsize < 8 * 1024 ** 3 * options.scale)
      console.error(`little space in ${tmpdir()}: TMPDIR names another place`);
    const rows = await benchSet(scope, set, options);
    print(rows);
    all.push(...rows);
  } finally {
    await scope.end();
  }
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(all, null, 2)}\n`);
