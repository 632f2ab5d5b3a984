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

/** Manifests beside each other: `bench`, and the same images with a policy or without, once they are signed at the origin. */
export type Name = 'bench' | 'signed' | 'verified';

export function writeManifest(site: Site, name: Name = 'bench', more: readonly string[] = []): void {
  const lines = site.images.map(({ repository, tag }) => `  - ${site.host}/${repository}:${tag}`);
  const text = ['apiVersion: bundle/v1', `name: ${name}`, ...more, 'images:', ...lines, ''].join('\n');
  writeFileSync(join(site.directory, `${name}.yaml`), text);
}

const command = (site: Pick<Site, 'directory'>, ...argv: string[]): Command => ({
  argv: [PROGRAM, ...argv],
  cwd: site.directory,
  env: { BUNDLE_KEY_PASSWORD: 'bench' },
});

export const makeKeys = (site: Site): Command => command(site, 'keys', 'generate', '-o', 'bench');

export function lock(site: Site, name: Name = 'bench'): Command {
  rmSync(join(site.directory, `${name}.lock.json`), { force: true });
  return command(site, 'lock', '-f', `${name}.yaml`, '--plain-http', site.host);
}

export const checkLock = (site: Site): Command => command(site, 'lock', '--check', '-f', 'bench.yaml', '--plain-http', site.host);

export const pull = (
  site: Site,
  to: string,
  trust: readonly ['--unsigned'] | readonly ['--key', string],
  name: Name = 'bench',
): Command => command(site, 'pull', '-f', `${name}.yaml`, '-o', to, ...trust, '--plain-http', site.host);

/** What the others do in one: tags to digests, then the bytes. */
export function lockAndPull(site: Site, to: string): Command {
  const { env = {}, argv } = lock(site);
  const script = [argv, pull(site, to, ['--key', 'bench.key']).argv].map((words) => words.map((w) => `'${w}'`).join(' '));
  return { argv: ['sh', '-c', script.join(' && ')], cwd: site.directory, env };
}

export const verify = (site: Site, bundle: string): Command => command(site, 'verify', bundle, '--trust', 'bench.pub');

export const load = (site: Site, bundle: string, target: string, state: string): Command =>
  command(
    site,
    ...['load', bundle, '--trust', 'bench.pub', '--registry', target, '--plain-http', target],
    ...['--state', state, '--skip-mirrors'],
  );
