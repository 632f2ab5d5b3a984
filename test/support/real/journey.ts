/** lock, pull, carry, verify, load between two real registries, by the real command line. */

import assert from 'node:assert/strict';
import { cp, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Bundle, createBundle, type ImageLine, type Outcome, writeManifest } from './bundle.ts';
import { NAMES } from './images.ts';
import type { Registry } from './registries.ts';

export type Content = Readonly<{
  ref: string;
  digest: string;
  targetDigest: string;
  form: 'whole' | 'single' | 'derived';
  platforms: readonly string[];
}>;

export type Journey = Readonly<{
  bundle: Bundle;
  directory: string;
  /** Flags of the connected side and of node-1: what each knows of its registry. */
  sourceFlags: readonly string[];
  targetFlags: readonly string[];
  loadFlags: readonly string[];
}>;

export type JourneyOptions = Readonly<{
  directory: string;
  keys: string;
  origin: Registry;
  target: Registry;
  /** Below which path of the target everything goes. */
  path?: string | undefined;
  caFile: string;
  authFile: string;
}>;

/** How the command line is told about a registry. */
export function flagsFor({ host, tls, tokens }: Registry, caFile: string, authFile: string): string[] {
  return [
    ...(tls ? ['--ca-file', caFile] : ['--plain-http', host]),
    ...(tokens === undefined || tls ? [] : ['--allow-realm', tokens.host]),
    ...['--authfile', authFile],
  ];
}

export async function prepareJourney(options: JourneyOptions): Promise<Journey> {
  const { directory, origin, target, path, caFile, authFile } = options;
  await mkdir(directory, { recursive: true });
  await writeManifest(directory, 'journey', imagesOf(origin.host));
  const targetFlags = flagsFor(target, caFile, authFile);
  const loadFlags = [
    ...[
      '--registry',
      [target.host, ...(path === undefined ? [] : [path])].join('/'),
      '--trust',
      `${options.keys}.pub`,
      '--state',
      join(directory, 'state'),
    ],
    ...targetFlags,
  ];
  const sourceFlags = flagsFor(origin, caFile, authFile);
  return { bundle: await createBundle(directory), directory, sourceFlags, targetFlags, loadFlags };
}

/** One of everything; parts of an image with three platforms in both forms that a part can have. */
const imagesOf = (host: string): ImageLine[] => [
  `${host}/${NAMES.two}`,
  { ref: `${host}/${NAMES.three}`, platforms: ['linux/arm64', 'linux/amd64'] },
  { ref: `${host}/${NAMES.part}`, aliases: ['tools/for-pods:1'] },
  { ref: `${host}/${NAMES.attested}`, platforms: ['linux/amd64'] },
  ...[NAMES.app, NAMES.docker, NAMES.dockerList, NAMES.zstd, NAMES.artifact, NAMES.nested].map((name) => `${host}/${name}`),
];

/** Ends a command with 0, or says what it said. @returns the document of `--json` */
export async function succeed(outcome: Promise<Outcome>): Promise<Record<string, unknown>> {
  const { code, stdout, stderr, json } = await outcome;
  assert.equal(code, 0, `exit code ${code}\n${stderr.slice(-3000)}${stdout.slice(-1000)}`);
  return json();
}

/** What `--json` of load says of each reference. */
export type LoadedItem = Readonly<{ ref: string; outcome: string; targetDigest: string; originalIndex?: string }>;
export type Loaded = Readonly<{ outcome: string; tagsMoved: number; bytesPushed: number; items: readonly LoadedItem[] }>;

export async function pullAndCarry(journey: Journey, keys: string): Promise<{ carried: string; contents: Content[] }> {
  const { bundle, directory, sourceFlags } = journey;
  await succeed(bundle(['lock', '--json', ...sourceFlags]));
  const pulled = await succeed(bundle(['pull', '--key', `${keys}.key`, '--json', ...sourceFlags]));
  assert.equal(pulled.outcome, 'committed');
  const carried = join(directory, 'node-1', 'journey');
  await cp(join(directory, 'bundles', 'journey'), carried, { recursive: true });
  // From the statement itself, which is what was signed, and not from what a command says of it.
  const statement = JSON.parse(await readFile(join(carried, 'bundle.json'), 'utf8')) as { predicate: { contents: Content[] } };
  return { carried, contents: statement.predicate.contents };
}

export async function load(journey: Journey, carried: string): Promise<Loaded> {
  const { targets } = await succeed(journey.bundle(['load', carried, '--json', '--skip-mirrors', ...journey.loadFlags]));
  const [loaded, ...more] = targets as Loaded[];
  assert.ok(loaded !== undefined && more.length === 0);
  return loaded;
}
