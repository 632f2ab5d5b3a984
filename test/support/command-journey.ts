/** The whole journey in one process: embedded registries as origins and target, and the command line with its streams captured. */
import { createHash, generateKeyPairSync } from 'node:crypto';
import { chmodSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Statement } from '../../src/bundle/statement.ts';
import { run } from '../../src/cli/run.ts';
import type { FileSystem } from '../../src/files/file-system.ts';
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import type { LockFile } from '../../src/lock/lock-file.ts';
import type { RequestRecord, ResponseRecord } from '../../src/serve/access-log.ts';
import type { WritableContent } from '../../src/serve/content.ts';
import { createMemoryContent } from '../../src/serve/memory-content.ts';
import { type Registry, type RegistryOptions, startRegistry } from '../../src/serve/server.ts';
import type { TestImage } from './random-image.ts';
import { type Ending, tempDir } from './temp-dir.ts';

/** How a command line ended and what it said. */
export type Ran = Readonly<{ code: number; stdout: string; stderr: string; json(): Json }>;

/** JSON of our own making, open to any look. */
// biome-ignore lint/suspicious/noExplicitAny: tests name the path they look at; a wrong one is a failed assertion
export type Json = any;

export type RunOptions = Readonly<{
  env?: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since 1970; default: the real clock. */
  now?: number | (() => number);
  signal?: AbortSignal;
  terminal?: boolean;
  fs?: FileSystem;
  /** Called with each piece of standard output as it comes: for commands that go on. */
  onStdout?: (text: string) => void;
}>;

/** Runs one command line in this process. Paths must be absolute: there is one working directory for all tests. */
export async function bundle(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { now = Date.now } = options;
  let stdout = '';
  let stderr = '';
  const code = await run(argv, {
    fs: options.fs ?? nodeFileSystem,
    env: options.env ?? {},
    stdout: (text) => {
      stdout += text;
      options.onStdout?.(text);
    },
    stderr: (text) => {
      stderr += text;
    },
    stderrIsTerminal: options.terminal ?? false,
    terminalWidth: () => 100,
    now: typeof now === 'number' ? () => now : now,
    signal: options.signal ?? new AbortController().signal,
  });
  return { code, stdout, stderr, json: () => JSON.parse(stdout) };
}

export type TestRegistry = Readonly<{
  /** `127.0.0.1:40123` */
  host: string;
  content: WritableContent;
  /** Every request since the last {@link clear}, as `GET /v2/…`. */
  requests: string[];
  responses: ResponseRecord[];
  clear(): void;
  /** Stores an image and all under it, its root under these tags. */
  put(repository: string, tags: string | readonly string[], image: TestImage): Promise<void>;
  /** What a tag or digest means: its digest, or undefined. */
  digest(repository: string, reference: string): Promise<string | undefined>;
  stop(): Promise<void>;
  /** On the same port with the same content. */
  start(): Promise<void>;
}>;

export type TestRegistryOptions = Omit<RegistryOptions, 'content'> & Readonly<{ content?: WritableContent }>;

/** A registry in memory on a free port of loopback, gone when the test is over. */
export async function testRegistry(t: Ending, options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const content = options.content ?? createMemoryContent();
  const requests: string[] = [];
  const responses: ResponseRecord[] = [];
  const open = (port: number): Promise<Registry> =>
    startRegistry({
      ...options,
      content,
      port,
      onRequest(record: RequestRecord) {
        requests.push(`${record.method} ${record.url}`);
        options.onRequest?.(record);
      },
      onResponse(record) {
        responses.push(record);
        options.onResponse?.(record);
      },
    });
  let registry = await open(0);
  const { host } = registry;
  t.after(() => registry.close(0));
  return {
    host,
    content,
    requests,
    responses,
    clear() {
      requests.length = 0;
      responses.length = 0;
    },
    put: (repository, tags, image) => putImage(content, repository, typeof tags === 'string' ? [tags] : tags, image),
    digest: async (repository, reference) => (await content.manifest(repository, reference))?.digest,
    stop: () => registry.close(0),
    async start() {
      registry = await open(Number(host.split(':').at(-1)));
    },
  };
}

async function putImage(content: WritableContent, repository: string, tags: readonly string[], image: TestImage): Promise<void> {
  for (const blob of image.blobs) {
    const staging = await content.stage();
    for (const chunk of blob.read(0, blob.size)) await staging.write(chunk);
    await staging.commit(repository, blob.digest);
  }
  for (const manifest of image.manifests)
    await content.putManifest(repository, manifest, manifest.digest === image.digest ? tags : []);
}

export type TestKey = Readonly<{ key: string; pub: string; keyid: string }>;

/** A key pair as files, its private half without the slow encryption. */
export function testKey(directory: string, name: string): TestKey {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const [key, pub] = [join(directory, `${name}.key`), join(directory, `${name}.pub`)];
  writeFileSync(key, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  writeFileSync(pub, publicKey.export({ format: 'pem', type: 'spki' }));
  const keyid = createHash('sha256')
    .update(publicKey.export({ format: 'der', type: 'spki' }))
    .digest('hex');
  return { key, pub, keyid };
}

export type Journey = Readonly<{
  dir: string;
  path(...names: string[]): string;
  origins: readonly [TestRegistry, TestRegistry];
  target: TestRegistry;
  key: TestKey;
  /** The bundle directory that {@link pull} makes. */
  bundle: string;
  /** Writes `<name>.yaml` and gives its path. */
  manifest(name: string, ...lines: string[]): Promise<string>;
  run(argv: readonly string[], options?: RunOptions): Promise<Ran>;
  lock(file: string, ...argv: string[]): Promise<Ran>;
  pull(file: string, ...argv: string[]): Promise<Ran>;
  load(...argv: string[]): Promise<Ran>;
  /** Lets the commands ask one more host without TLS. */
  allowPlainHttp(host: string): void;
  /** Name of a reference's repository at the target. */
  at(registry: TestRegistry, repository: string): string;
}>;

/** Two origins, a target and a key; commands with the flags that every one of them needs. Files are gone when the test is over. */
export async function journey(t: Ending, options: Readonly<{ target?: TestRegistryOptions }> = {}): Promise<Journey> {
  const dir = await tempDir(t, 'bundle-e2e-');
  const path = (...names: string[]): string => join(dir, ...names);
  const origins = [await testRegistry(t), await testRegistry(t)] as const;
  const target = await testRegistry(t, options.target);
  const key = testKey(dir, 'release');
  const hosts = [...origins, target].map(({ host }) => host);
  const env = () => ({ BUNDLE_PLAIN_HTTP: hosts.join(','), HOME: dir, PATH: dir, TMPDIR: dir });
  const runHere = (argv: readonly string[], given: RunOptions = {}): Promise<Ran> =>
    bundle(argv, { ...given, env: { ...env(), ...given.env } });
  return {
    dir,
    path,
    origins,
    target,
    key,
    bundle: path('bundle'),
    async manifest(name, ...lines) {
      const file = path('manifests', `${name}.yaml`);
      await mkdir(path('manifests'), { recursive: true });
      await writeFile(file, ['apiVersion: bundle/v1', `name: ${name}`, ...lines, ''].join('\n'));
      return file;
    },
    run: runHere,
    lock: (file, ...argv) => runHere(['lock', '-f', file, ...argv]),
    pull: (file, ...argv) =>
      runHere([
        'pull',
        '-f',
        file,
        ...(argv.includes('-o') ? [] : ['-o', path('bundle')]),
        ...(argv.includes('--key') || argv.includes('--unsigned') ? [] : ['--key', key.key]),
        ...argv,
      ]),
    load: (...argv) => runHere(loadArguments(argv, path('bundle'), target, key, path('state'))),
    allowPlainHttp: (host) => void hosts.push(host),
    at: (registry, repository) => `${registry.host.replace(':', '_')}/${repository}`,
  };
}

/** Defaults for what is not said; a first word that is no flag is the bundle. */
function loadArguments(argv: readonly string[], directory: string, target: TestRegistry, key: TestKey, state: string): string[] {
  const named = argv[0] !== undefined && !argv[0].startsWith('-');
  const has = (flag: string): boolean => argv.includes(flag);
  return [
    'load',
    ...(named ? argv : [directory, ...argv]),
    ...(has('--registry') ? [] : ['--registry', target.host]),
    ...(has('--trust') || has('--insecure-skip-signature') ? [] : ['--trust', key.pub]),
    ...(has('--state') ? [] : ['--state', state]),
  ];
}

export const readJson = (path: string): Json => JSON.parse(readFileSync(path, 'utf8'));
export const statementOf = (directory: string): Statement['predicate'] => readJson(join(directory, 'bundle.json')).predicate;
export const lockOf = (file: string): LockFile => readJson(file.replace(/\.yaml$/, '.lock.json'));
export const generationsOf = (directory: string): string[] => readdirSync(join(directory, 'generations')).sort();

/** Every file below a directory by name: its bytes as a hash. With `times` also when it was changed. */
export function tree(directory: string, times = false): Record<string, string> {
  const found: [string, string][] = [];
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(directory, name);
    const stat = lstatSync(path);
    const what = stat.isDirectory() ? 'directory' : createHash('sha256').update(readFileSync(path)).digest('hex');
    found.push([name, times ? `${what} ${stat.mtimeMs} ${stat.mode}` : what]);
  }
  return Object.fromEntries(found);
}

/** Takes the right to write from everything below a directory, as on a medium that is mounted read-only. */
export function makeReadOnly(directory: string): void {
  for (const name of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    const path = join(directory, name);
    chmodSync(path, lstatSync(path).isDirectory() ? 0o555 : 0o444);
  }
  chmodSync(directory, 0o555);
}

/** Turns one bit of a file. */
export function flipByte(path: string, at?: number): void {
  const bytes = readFileSync(path);
  const place = at ?? bytes.length >> 1;
  bytes[place] = (bytes[place] as number) ^ 1;
  writeFileSync(path, bytes);
}

export const isWrite = (request: string): boolean => /^(PUT|POST|PATCH|DELETE) /.test(request);
