/** Debian's containerd 2, each with a root of its own, set up as k3s sets up its own one. */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Ending, tempDir } from '../temp-dir.ts';
import { tool } from '../tools.ts';
import { type CriAnswer, criPull } from './cri.ts';
import { type Environment, type Finished, freePort, run, startServer } from './programs.ts';
import type { Login } from './registries.ts';

export type ContainerdOptions = Readonly<{
  /** Where the hosts.toml files are. */
  certsDir: string;
  /** By `host:port`: k3s writes the logins of registries.yaml into containerd's own configuration, never into hosts.toml. */
  logins?: Readonly<Record<string, Login>>;
  env?: Environment;
}>;

export type Namespace = 'interop' | 'k8s.io';

export type Containerd = Readonly<{
  /** Any command of ctr, at this daemon. */
  ctr(...args: string[]): Promise<Finished>;
  /** `ctr images pull` of this machine's platform, into namespace "interop". */
  pull(reference: string, ...extra: string[]): Promise<Finished>;
  /** As the kubelet pulls, into namespace "k8s.io". */
  criPull(reference: string): Promise<CriAnswer>;
  /** What an image that was pulled under this very name means. */
  digestOf(namespace: Namespace, reference: string): Promise<string | undefined>;
  stop(): Promise<void>;
}>;

const PLATFORM = `linux/${process.arch === 'arm64' ? 'arm64' : 'amd64'}`;
const toml = (text: string): string => JSON.stringify(text);

/** Snapshots by copying work on every file system. */
function configOf(directory: string, port: number, { certsDir, logins = {} }: ContainerdOptions): string {
  const registry = `plugins."io.containerd.cri.v1.images".registry`;
  return [
    'version = 3',
    `root = ${toml(join(directory, 'root'))}`,
    `state = ${toml(join(directory, 'state'))}`,
    `[grpc]\naddress = ${toml(join(directory, 's'))}\ntcp_address = "127.0.0.1:${port}"`,
    `[ttrpc]\naddress = ${toml(join(directory, 's.ttrpc'))}`,
    `[plugins."io.containerd.nri.v1.nri"]\ndisable = true`,
    `[plugins."io.containerd.internal.v1.opt"]\npath = ${toml(join(directory, 'opt'))}`,
    `[plugins."io.containerd.cri.v1.images"]\nsnapshotter = "native"`,
    // The CRI pulls through the transfer service, which is told apart how to unpack.
    '[[plugins."io.containerd.transfer.v1.local".unpack_config]]',
    `platform = "${PLATFORM}"\nsnapshotter = "native"\ndiffer = "walking"`,
    `[${registry}]\nconfig_path = ${toml(certsDir)}`,
    ...Object.entries(logins).map(
      ([host, { user, password }]) =>
        `[${registry}.configs.${toml(host)}.auth]\nusername = ${toml(user)}\npassword = ${toml(password)}`,
    ),
    '',
  ].join('\n');
}

/** A fresh containerd: blobs are shared inside one, so whoever wants to see bytes move needs a new one. Needs root. */
export async function startContainerd(t: Ending, options: ContainerdOptions): Promise<Containerd> {
  const directory = await tempDir(t, 'bundle-cd-'); // a short path: sockets have room for 108 bytes
  const port = await freePort();
  const config = join(directory, 'config.toml');
  await writeFile(config, configOf(directory, port, options));
  const env = { HOME: directory, ...options.env };
  const ctr = (...args: string[]): Promise<Finished> => run(tool('ctr'), ['-a', join(directory, 's'), ...args], { env });
  const server = await startServer(t, port, tool('containerd'), ['-c', config], { env });
  // The socket comes right after the port.
  for (let tries = 0; (await ctr('version')).code !== 0 && tries < 100; tries++) await sleep(20);
  return {
    ctr,
    pull: (reference, ...extra) =>
      ctr(
        ...['-n', 'interop', 'images', 'pull', '--local', '--hosts-dir', options.certsDir],
        ...['--snapshotter', 'native', '--platform', PLATFORM, ...extra, reference],
      ),
    criPull: (reference) => criPull(join(directory, 's'), reference),
    async digestOf(namespace, reference) {
      const { stdout } = await ctr('-n', namespace, 'images', 'ls');
      const line = stdout
        .toString('utf8')
        .split('\n')
        .find((each) => each.split(/\s+/)[0] === reference);
      return line?.split(/\s+/)[2];
    },
    stop: () => server.stop('SIGTERM'),
  };
}

/** What containerd's resolver makes of a reference with these hosts.toml files: no daemon, nothing stored. Standard output is the manifest. */
export const resolveByCtr = (certsDir: string, reference: string, env: Environment = {}, ...extra: string[]): Promise<Finished> =>
  run(tool('ctr'), ['content', 'fetch-object', '--hosts-dir', certsDir, ...extra, reference, 'manifest'], { env });

/** Writes hosts.toml files as `certs.d` has them, by directory. @returns that folder */
export async function writeCertsDir(folder: string, files: Readonly<Record<string, string>>): Promise<string> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder, name), { recursive: true });
    await writeFile(join(folder, name, 'hosts.toml'), text);
  }
  return folder;
}
