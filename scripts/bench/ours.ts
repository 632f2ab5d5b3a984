/** Our command lines. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from './measure.ts';
import type { Site } from './peers.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const SCRIPT = join(ROOT, 'scripts/bundle');

const EXECUTABLE = join(ROOT, 'dist', `bundle-linux-${process.arch}`, 'bundle');

/** What is measured: the executable, as the peers are ones, when `npm run build:exe` has made it; else the script. */
const PROGRAM = existsSync(EXECUTABLE) ? EXECUTABLE : SCRIPT;

/** What can be started. */
export const programs: Readonly<Record<string, string>> = {
  'ours: scripts/bundle': SCRIPT,
  ...(PROGRAM === EXECUTABLE ? { 'ours: the executable': EXECUTABLE } : {}),
};

export function writeManifest(site: Site): void {
  const lines = site.images.map(({ repository, tag }) => `  - ${site.host}/${repository}:${tag}`);
  writeFileSync(join(site.directory, 'bench.yaml'), ['apiVersion: bundle/v1', 'name: bench', 'images:', ...lines, ''].join('\n'));
}

const command = (site: Pick<Site, 'directory'>, ...argv: string[]): Command => ({
  argv: [PROGRAM, ...argv],
  cwd: site.directory,
  env: { BUNDLE_KEY_PASSWORD: 'bench' },
});

export const makeKeys = (site: Site): Command => command(site, 'keys', 'generate', '-o', 'bench');

export function lock(site: Site): Command {
  rmSync(join(site.directory, 'bench.lock.json'), { force: true });
  return command(site, 'lock', '-f', 'bench.yaml', '--plain-http', site.host);
}

export const checkLock = (site: Site): Command => command(site, 'lock', '--check', '-f', 'bench.yaml', '--plain-http', site.host);

export const pull = (site: Site, to: string, ...trust: ['--unsigned'] | ['--key', string]): Command =>
  command(site, 'pull', '-f', 'bench.yaml', '-o', to, ...trust, '--plain-http', site.host);

/** What the others do in one: tags to digests, then the bytes. */
export function lockAndPull(site: Site, to: string): Command {
  const { env = {}, argv } = lock(site);
  const script = [argv, pull(site, to, '--key', 'bench.key').argv].map((words) => words.map((w) => `'${w}'`).join(' '));
  return { argv: ['sh', '-c', script.join(' && ')], cwd: site.directory, env };
}

export const verify = (site: Site, bundle: string): Command => command(site, 'verify', bundle, '--trust', 'bench.pub');

export const load = (site: Site, bundle: string, target: string, state: string): Command =>
  command(
    site,
    ...['load', bundle, '--trust', 'bench.pub', '--registry', target, '--plain-http', target],
    ...['--state', state, '--skip-mirrors'],
  );
