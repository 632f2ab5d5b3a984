import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tool } from '../../support/tools.ts';
import { type CriAnswer, criPull } from './cri.ts';
import { type Ran, type Running, run, start } from './program.ts';

export type Login = Readonly<{ user: string; password: string }>;

export type ContainerdOptions = Readonly<{
  /** Where the rendered hosts.toml files are: read by the CRI side, and to be handed to {@link Containerd.pull}. */
  certsDir: string;
  /** By `host:port`: k3s writes the logins of registries.yaml into containerd's own configuration, never into hosts.toml. */
  logins?: Readonly<Record<string, Login>>;
  env?: Readonly<Record<string, string>>;
}>;

export type Containerd = Readonly<{
  pid: number;
  /** `ctr images pull` of one platform, in namespace "interop". */
  pull(reference: string, extra?: readonly string[]): Promise<Ran>;
  /** As the kubelet pulls, in namespace "k8s.io". */
  criPull(reference: string): Promise<CriAnswer>;
  /** What an image that was pulled under this very name means. */
  digestOf(namespace: 'interop' | 'k8s.io', reference: string): Promise<string | undefined>;
  close(): Promise<void>;
}>;

const toml = (text: string): string => JSON.stringify(text);

/** containerd 2 as k3s configures it, with snapshots by copying, which works on every file system. */
function configOf(directory: string, { certsDir, logins = {} }: ContainerdOptions): string {
  const registry = `plugins."io.containerd.cri.v1.images".registry`;
  return [
    'version = 3',
    `root = ${toml(join(directory, 'root'))}`,
    `state = ${toml(join(directory, 'state'))}`,
    `[grpc]\naddress = ${toml(join(directory, 's'))}`,
    `[ttrpc]\naddress = ${toml(join(directory, 's.ttrpc'))}`,
    `[plugins."io.containerd.nri.v1.nri"]\ndisable = true`,
    `[plugins."io.containerd.cri.v1.images"]\nsnapshotter = "native"`,
    `[${registry}]\nconfig_path = ${toml(certsDir)}`,
    ...Object.entries(logins).map(
      ([host, login]) =>
        `[${registry}.configs.${toml(host)}.auth]\nusername = ${toml(login.user)}\npassword = ${toml(login.password)}`,
    ),
    '',
  ].join('\n');
}

/** A fresh containerd of its own: blobs are shared inside one, so whoever wants to see a pull needs a new one. */
export async function startContainerd(directory: string, options: ContainerdOptions): Promise<Containerd> {
  await mkdir(directory, { recursive: true });
  const socket = join(directory, 's');
  await writeFile(join(directory, 'config.toml'), configOf(directory, options));
  const { env = {} } = options;
  const ctr = (args: readonly string[]): Promise<Ran> => run(tool('ctr'), ['-a', socket, ...args], { env });
  const daemon: Running = await start(tool('containerd'), ['-c', join(directory, 'config.toml')], {
    env,
    ready: async (output) => output.includes('successfully booted') && (await ctr(['version'])).status === 0,
  });
  return {
    pid: daemon.pid,
    // The transfer service would need a configuration of its own ("no unpack platforms defined"); --local resolves as CRI does.
    pull: (reference, extra = []) =>
      ctr([
        ...['-n', 'interop', 'images', 'pull', '--local', '--hosts-dir', options.certsDir],
        ...['--snapshotter', 'native', '--platform', 'linux/amd64', ...extra, reference],
      ]),
    criPull: (reference) => criPull(socket, reference),
    async digestOf(namespace, reference) {
      const { stdout } = await ctr(['-n', namespace, 'images', 'ls']);
      const line = stdout.split('\n').find((each) => each.split(/\s+/)[0] === reference);
      return line?.split(/\s+/)[2];
    },
    async close() {
      await daemon.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** What containerd's resolver makes of a reference with these hosts.toml files: no daemon, nothing stored. */
export const resolveByCtr = (
  certsDir: string,
  reference: string,
  env: Readonly<Record<string, string>> = {},
  extra: readonly string[] = [],
): Promise<Ran> =>
  run(tool('ctr'), ['content', 'fetch-object', '--hosts-dir', certsDir, ...extra, reference, 'manifest'], { env });
