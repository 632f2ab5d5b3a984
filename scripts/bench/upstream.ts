/** Signs the images of a set at their origin, as upstream would, with the real cosign: what `verify: key` then costs. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { tool } from '../../test/support/tools.ts';
import type { Site } from './peers.ts';

const run = promisify(execFile);

/** @returns the public key, relative to the manifest's folder */
export async function signAtOrigin({ host, directory, images }: Site): Promise<string> {
  const env = { HOME: directory, DOCKER_CONFIG: directory, COSIGN_PASSWORD: '' };
  await run(tool('cosign'), ['generate-key-pair', '--output-key-prefix', join(directory, 'upstream')], { env });
  const config = join(directory, 'signing-config.json');
  const none = { mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json', rekorTlogConfig: {}, tsaConfig: {} };
  writeFileSync(config, JSON.stringify(none));
  const flags = ['--yes', '--key', join(directory, 'upstream.key'), '--signing-config', config];
  const root = join(directory, 'root.json');
  writeFileSync(root, JSON.stringify({ mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1' }));
  for (const { repository, digest } of images)
    await run(tool('cosign'), ['sign', ...flags, '--trusted-root', root, `${host}/${repository}@${digest}`], { env });
  return 'upstream.pub';
}
