/**
 * `npm run bench`: ours beside curl, crane, oras, regctl and skopeo, in turns on one machine, so that ratios mean something where seconds do not.
 * Needs scripts/interop/install.sh. Flags: --set big|forty|many (repeatable, default all), --scale 1 (factor on sizes), --runs 3, --quick (forty at a
 * tenth, once), --no-peers (ours and the floor only), --serve (our registry beside others, instead), --memory-gib 10 (peak memory for layers of 1 and
 * 10 GiB, instead), --markdown FILE, --json FILE. TMPDIR says where the bytes go: `--set big` needs 4 GiB.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startRegistry } from '../../test/support/real/registries.ts';
import { createSuiteScope } from '../../test/support/real/scope.ts';
import { loading, type Origin, pulling, pullingSigned, resolving, starting, verifying } from './contenders.ts';
import { measure } from './measure.ts';
import { benchMemory } from './memory.ts';
import * as ours from './ours.ts';
import { type Contender, type Row, runRounds } from './rounds.ts';
import { benchServing } from './serve.ts';
import { isSetName, makeSet, pushSet, SET_NAMES, type SetName } from './sets.ts';
import { markdownTable, textTable } from './table.ts';
import { signAtOrigin } from './upstream.ts';

type Options = Readonly<{ sets: readonly SetName[]; scale: number; runs: number; peers: boolean }>;

const { values } = parseArgs({
  options: {
    set: { type: 'string', multiple: true },
    scale: { type: 'string' },
    runs: { type: 'string' },
    quick: { type: 'boolean', default: false },
    'no-peers': { type: 'boolean', default: false },
    serve: { type: 'boolean', default: false },
    'memory-gib': { type: 'string' },
    markdown: { type: 'string' },
    json: { type: 'string' },
  },
});

/** @throws Error when a name is no set or a number no number */
function optionsOf(): Options {
  const preset = values.quick ? { sets: ['forty'], scale: '0.1', runs: '1' } : { sets: SET_NAMES, scale: '1', runs: '3' };
  const sets = (values.set ?? preset.sets).map((name) => {
    if (!isSetName(name)) throw new Error(`--set ${name}: want big, forty or many`);
    return name;
  });
  const [scale, runs] = [Number(values.scale ?? preset.scale), Number(values.runs ?? preset.runs)];
  if (!(scale > 0) || !Number.isInteger(runs) || runs < 1) throw new Error('--scale and --runs are positive numbers');
  return { sets, scale, runs, peers: !values['no-peers'] };
}

const chosen = (contenders: readonly Contender[], peers: boolean): readonly Contender[] =>
  contenders.filter(({ role }) => peers || role !== 'peer');

/** @param directory empty, removed by the caller */
async function benchSet(set: SetName, directory: string, { scale, runs, peers }: Options): Promise<readonly Row[]> {
  const scope = createSuiteScope();
  try {
    const images = makeSet(set, scale);
    const registry = await startRegistry(scope, { kind: 'distribution 2.8' });
    await pushSet(registry.host, images);
    const blobs = new Map(images.flatMap((image) => image.blobs.map(({ digest, size }) => [digest, size] as const)));
    const bytes = [...blobs.values()].reduce((a, b) => a + b, 0);
    console.error(`${set}: ${images.length} images, ${blobs.size + images.length} blobs, ${(bytes / 1024 ** 2).toFixed(0)} MiB`);
    const origin: Origin = { site: { host: registry.host, directory, images }, registry };
    const { site } = origin;
    const run = (contenders: readonly Contender[]): Promise<readonly Row[]> =>
      runRounds(set, directory, chosen(contenders, peers), runs);
    ours.writeManifest(site);
    await measure(ours.makeKeys(site));
    await measure(ours.lock(site));
    const bundle = join(directory, 'bundle');
    await measure(ours.pull(site, bundle, ['--key', 'bench.key'])); // what is verified and loaded; it warms the page cache too
    const rows = [
      ...(await run(resolving(origin))),
      ...(await run(pulling(origin))),
      ...(await run(verifying(origin, bundle))),
      ...(await run(loading(origin, bundle))),
    ];
    return set === 'forty' ? [...rows, ...(await benchSigned(origin, runs))] : rows;
  } finally {
    await scope.end();
  }
}

/** Last, since it changes the origin. */
async function benchSigned(origin: Origin, runs: number): Promise<readonly Row[]> {
  const { site } = origin;
  const key = await signAtOrigin(site);
  ours.writeManifest(site, 'signed');
  ours.writeManifest(site, 'verified', [`verify: {key: ${key}}`]);
  for (const name of ['signed', 'verified'] as const) await measure(ours.lock(site, name));
  return runRounds('forty', site.directory, pullingSigned(origin), runs);
}

/** Tables come as they are done; the folder is gone afterwards. */
async function benchAll(options: Options): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const bench = async (work: (directory: string) => Promise<readonly Row[]>): Promise<void> => {
    const directory = mkdtempSync(join(tmpdir(), 'bundle-bench-'));
    try {
      const some = await work(directory);
      console.log(`\n${textTable(some)}`);
      rows.push(...some);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
  const memory = values['memory-gib'];
  if (memory !== undefined) {
    await bench((directory) => benchMemory(directory, [1, Number(memory)]));
    return rows;
  }
  if (!values.serve) await bench((directory) => runRounds('start', directory, chosen(starting, options.peers), options.runs * 3));
  for (const set of options.sets)
    await bench((directory) => (values.serve ? benchServing(set, directory, options) : benchSet(set, directory, options)));
  return rows;
}

const options = optionsOf();
const machine = `${cpus().length} cores (${cpus()[0]?.model}), ${(totalmem() / 1024 ** 3).toFixed(0)} GiB, Node ${process.version}; best of ${options.runs} runs in turns, sizes times ${options.scale}`;
console.log(machine);
const rows = await benchAll(options);
if (values.markdown !== undefined) writeFileSync(values.markdown, `${machine}\n\n${markdownTable(rows)}`);
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(rows, null, 2)}\n`);
