/** A Debian suite beside the system: its own lists and cache in a folder of ours, nothing on the machine is changed. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';
const RECENT_MS = 6 * 60 * 60 * 1000;

export type Suite = Readonly<{
  name: string;
  /** Downloads and unpacks packages (`name` or `name:arch`) into `into`; gives their versions by name. Throws when one is unknown. */
  unpack: (packages: readonly string[], into: string) => Record<string, string>;
  /** The libraries that `packages` need, the C library itself left out: the loader and it must be of one build. */
  librariesOf: (packages: readonly string[]) => string[];
}>;

function run(program: string, args: readonly string[], cwd?: string): string {
  try {
    return execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 64 << 20 });
  } catch (cause) {
    const said = (cause as { stderr?: string }).stderr?.trim().split('\n').slice(-4).join('\n  ') ?? '';
    throw new Error(`${program} ${args.slice(-6).join(' ')} failed:\n  ${said}`, { cause });
  }
}

/** The mirror that the machine's own sources name for its release. Throws on a system without Debian's apt. */
export function mirrorOfMachine(): string {
  const release = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]?.replaceAll('"', '');
  const targets = run('apt-get', ['indextargets', '--format', '$(REPO_URI) $(RELEASE) $(COMPONENT)', 'Created-By: Packages']);
  for (const line of targets.split('\n')) {
    const [uri, suite, component] = line.split(' ');
    if (uri && suite === release && component === 'main') return uri;
  }
  throw new Error(`apt's sources name no mirror for "${release}": the real programs come from Debian's packages`);
}

/** `amd64` or `arm64`: what this machine runs. */
export const machineArchitecture = (): string => (process.arch === 'arm64' ? 'arm64' : 'amd64');

/** Debian's name for the folder of libraries of an architecture. */
export const tripletOf = (architecture: string): string => (architecture === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu');

function configure(folder: string, name: string, architectures: readonly string[]): string[] {
  for (const part of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(folder, part), { recursive: true });
  const options = [`arch=${architectures.join(',')}`, ...(existsSync(KEYRING) ? [`signed-by=${KEYRING}`] : [])];
  writeFileSync(join(folder, 'sources.list'), `deb [${options.join(' ')}] ${mirrorOfMachine()} ${name} main\n`);
  writeFileSync(join(folder, 'status'), '');
  const settings = {
    'Dir::Etc::sourcelist': join(folder, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': join(folder, 'lists'),
    // An empty list of installed packages: what is there on this machine makes no difference.
    'Dir::State::status': join(folder, 'status'),
    'Dir::Cache': join(folder, 'cache'),
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  };
  const arches = architectures.map((each) => ['-o', `APT::Architectures::=${each}`]);
  return ['-q', ...Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]), ...arches.flat()];
}

/** Lists that were just fetched are not fetched again: each `update` costs three seconds and megabytes. */
function update(folder: string, apt: readonly string[], always = false): void {
  const stamp = join(folder, 'updated');
  const wanted = readFileSync(join(folder, 'sources.list'), 'utf8');
  const [at, source] = existsSync(stamp) ? readFileSync(stamp, 'utf8').split('\t') : [];
  if (!always && source === wanted && Date.now() - Number(at) < RECENT_MS) return;
  run('apt-get', [...apt, 'update']);
  writeFileSync(stamp, `${Date.now()}\t${wanted}`);
}

/** What lists of an hour ago name may be gone from a moving suite: a failed download is tried once more after a fresh look. */
function download(folder: string, apt: readonly string[], packages: readonly string[], into: string): void {
  mkdirSync(into, { recursive: true });
  try {
    run('apt-get', [...apt, 'download', ...packages], into);
  } catch {
    update(folder, apt, true);
    run('apt-get', [...apt, 'download', ...packages], into);
  }
}

function unpackAll(debs: string, into: string): Record<string, string> {
  const versions: Record<string, string> = {};
  mkdirSync(into, { recursive: true });
  for (const file of readdirSync(debs).sort()) {
    run('dpkg-deb', ['-x', join(debs, file), into]);
    const [name = file, version = ''] = run('dpkg-deb', ['--show', join(debs, file)])
      .trim()
      .split('\t');
    versions[name] = version;
  }
  return versions;
}

/** Opens suite `name` in `folder` (made when absent). Throws when the mirror cannot be reached or lacks the suite. */
export function openSuite(name: string, folder: string, architectures: readonly string[] = [machineArchitecture()]): Suite {
  const apt = configure(folder, name, architectures);
  update(folder, apt);
  return {
    name,
    unpack: (packages, into) => {
      const debs = join(folder, `debs-${process.pid}-${Date.now()}`);
      try {
        download(folder, apt, packages, debs);
        return unpackAll(debs, into);
      } finally {
        rmSync(debs, { recursive: true, force: true });
      }
    },
    librariesOf: (packages) => {
      const plan = run('apt-get', [...apt, '-s', '--no-install-recommends', 'install', ...packages]);
      const names = plan.split('\n').flatMap((line) => /^Inst (\S+)/.exec(line)?.[1] ?? []);
      return names.filter((each) => each.startsWith('lib') && each !== 'libc6' && !/-perl$|^libperl|^libpam/.test(each));
    },
  };
}
