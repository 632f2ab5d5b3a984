import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tool } from '../tools.ts';
import type { Clients } from './clients.ts';
import { must } from './programs.ts';
import type { Registry } from './registries.ts';

export type PlainImage = Readonly<{ name: string; layerBytes: readonly number[] }>;

/** Makes an image of layers that can't be compressed and pushes it. `name`: `repository:tag`. @returns its digest */
export async function pushPlainImage(
  registry: Registry,
  clients: Clients,
  directory: string,
  { name, layerBytes }: PlainImage,
): Promise<string> {
  await mkdir(directory, { recursive: true });
  const layout = join(directory, name.replace(/\W/g, '-'));
  const umoci = (...args: string[]): Promise<Buffer> => must(tool('umoci'), args, { env: { HOME: directory } });
  await umoci('init', '--layout', layout);
  await umoci('new', '--image', `${layout}:it`);
  for (const [i, bytes] of layerBytes.entries()) {
    const file = join(directory, `layer-${i}`);
    await writeFile(file, randomBytes(bytes));
    await umoci('insert', '--rootless', '--image', `${layout}:it`, file, `/data/${i}`);
  }
  const at = `${registry.host}/${name}`;
  await clients.skopeo('copy', '-q', `--dest-tls-verify=${registry.tls}`, `oci:${layout}:it`, `docker://${at}`);
  return clients.crane('digest', at);
}
