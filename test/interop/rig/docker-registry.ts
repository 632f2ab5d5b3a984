import { mkdir, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { KeyPair } from '../../support/certificates.ts';
import { tool } from '../../support/tools.ts';
import { freePort, type Running, start, succeed } from './program.ts';

export type DockerRegistry = Running & Readonly<{ host: string; url: string }>;

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

/** CNCF distribution 2.8 as Debian has it, on a free port of loopback, its content below `directory`. */
export async function startDockerRegistry(
  directory: string,
  options: Readonly<{ tls?: KeyPair; login?: Readonly<{ user: string; password: string }> }> = {},
): Promise<DockerRegistry> {
  const { tls, login } = options;
  await mkdir(directory, { recursive: true });
  const port = await freePort();
  const lines = ['version: 0.1', 'log: {level: warn, accesslog: {disabled: true}}'];
  lines.push(`storage: {filesystem: {rootdirectory: ${directory}/data}, delete: {enabled: true}}`);
  lines.push(`http:\n  addr: 127.0.0.1:${port}`);
  if (tls !== undefined) {
    await writeFile(join(directory, 'tls.crt'), tls.cert);
    await writeFile(join(directory, 'tls.key'), tls.key, { mode: 0o600 });
    lines.push(`  tls: {certificate: ${directory}/tls.crt, key: ${directory}/tls.key}`);
  }
  if (login !== undefined) {
    await writeFile(
      join(directory, 'htpasswd'),
      await succeed(tool('htpasswd'), ['-nbB', '-C', '4', login.user, login.password]),
    );
    lines.push(`auth: {htpasswd: {realm: interop, path: ${directory}/htpasswd}}`);
  }
  const config = join(directory, 'config.yml');
  await writeFile(config, `${lines.join('\n')}\n`);
  const running = await start(tool('docker-registry'), ['serve', config], { ready: () => answers(port) });
  const host = `127.0.0.1:${port}`;
  return { ...running, host, url: `${tls === undefined ? 'http' : 'https'}://${host}` };
}
