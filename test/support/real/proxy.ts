import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Ending, tempDir } from '../temp-dir.ts';
import { tool } from '../tools.ts';
import { freePort, startServer } from './programs.ts';
import type { Login } from './registries.ts';

export type Proxy = Readonly<{
  /** `http://127.0.0.1:4242` */
  url: string;
  /** `CONNECT 127.0.0.1:5000`, `GET http://127.0.0.1:5000/v2/…`: what it was asked for, in order. */
  requests(): string[];
}>;

/** A real tinyproxy; with `login` it wants a user and a password. */
export async function startProxy(t: Ending, login?: Login): Promise<Proxy> {
  const directory = await tempDir(t, 'bundle-proxy-');
  const port = await freePort();
  const lines = [`Port ${port}`, 'Listen 127.0.0.1', 'Timeout 60', 'MaxClients 100', 'LogLevel Connect', 'Allow 127.0.0.1'];
  if (login !== undefined) lines.push(`BasicAuth ${login.user} ${login.password}`);
  const file = join(directory, 'tinyproxy.conf');
  await writeFile(file, `${lines.join('\n')}\n`);
  const server = await startServer(t, port, tool('tinyproxy'), ['-d', '-c', file]);
  return {
    url: `http://127.0.0.1:${port}`,
    requests: () => [...server.output().matchAll(/Request \(file descriptor \d+\): (\S+ \S+) HTTP/g)].map((m) => m[1] as string),
  };
}
