/** The registries that are measured as servers, each a process of its own over a fresh folder. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { freePort, startServer } from '../../test/support/real/programs.ts';
import { startRegistry } from '../../test/support/real/registries.ts';
import type { Ending } from '../../test/support/temp-dir.ts';

export const SERVERS = ['distribution 2.8', 'distribution 3', 'olareg', 'ours'] as const;
export type Serving = Readonly<{ host: string; pid: number }>;

const BUNDLE = resolve(import.meta.dirname, '../bundle');

export async function startServing(t: Ending, kind: (typeof SERVERS)[number], directory: string): Promise<Serving> {
  const before = new Set(children());
  const storage = join(directory, 'storage');
  const host = kind === 'ours' ? await startOurs(t, storage) : (await startRegistry(t, { kind, storage })).host;
  const pid = children().find((child) => !before.has(child));
  if (pid === undefined) throw new Error(`${kind} is no child of this process`);
  return { host, pid };
}

async function startOurs(t: Ending, storage: string): Promise<string> {
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const server = await startServer(t, port, BUNDLE, ['serve', '--writable', storage, '--listen', host, '--min-free', '0']);
  // One that is killed writes no compile cache: without it each start strips the types anew, in 45 MiB more.
  t.after(() => server.stop('SIGTERM'));
  return host;
}

const children = (): number[] =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
