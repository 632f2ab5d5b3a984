/** What is measured: each subject is a list of command lines, one after the other. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { tool } from '../../test/support/tools.ts';
import type { Command } from './measure.ts';
import type { BenchImage } from './sets.ts';

export const OURS = resolve(import.meta.dirname, '../bundle');
const PASSWORD = { BUNDLE_KEY_PASSWORD: 'bench' };

export type Site = Readonly<{ host: string; directory: string; images: readonly BenchImage[] }>;

/** One shell for all references, so that a shell per reference is not counted. `line` uses $ref and $name. */
function eachRef(site: Site, name: string, line: string): Command {
  const list = join(site.directory, `${name}.list`);
  writeFileSync(list, site.images.map(({ repository, tag }) => `${repository} ${tag}\n`).join(''));
  const script = `while read -r name tag; do ${line} || exit 1; done < '${list}'`;
  return { argv: ['sh', '-c', script], cwd: site.directory };
}

/** Every blob to the disk, eight at a time, no hash: what the network and the disk allow. */
export function floor(site: Site, to: string): Command {
  const config = join(site.directory, 'curl.config');
  const urls = new Map<string, string>();
  for (const { repository, blobs } of site.images) for (const { digest } of blobs) urls.set(digest, repository);
  const lines = [...urls].map(
    ([digest, repository]) =>
      `url = "http://${site.host}/v2/${repository}/blobs/${digest}"\noutput = "${to}/${digest.slice(7)}"\n`,
  );
  writeFileSync(config, lines.join(''));
  const argv = [tool('curl'), '-s', '-f', '--create-dirs', '--parallel', '--parallel-max', '8', '--config', config];
  return { argv, cwd: site.directory };
}

export const cranePull = (site: Site, to: string): Command => ({
  argv: [
    tool('crane'),
    'pull',
    '--format=oci',
    ...site.images.map(({ repository, tag }) => `${site.host}/${repository}:${tag}`),
    to,
  ],
  cwd: site.directory,
});

export function writeManifest(site: Site): void {
  const lines = site.images.map(({ repository, tag }) => `  - ${site.host}/${repository}:${tag}`);
  writeFileSync(join(site.directory, 'bench.yaml'), ['apiVersion: bundle/v1', 'name: bench', 'images:', ...lines, ''].join('\n'));
}

const ours = (site: Site, ...argv: string[]): Command => ({ argv: [OURS, ...argv], cwd: site.directory, env: PASSWORD });

export const makeKeys = (site: Site): Command => ours(site, 'keys', 'generate', '-o', 'bench');
export const lock = (site: Site): Command => ours(site, 'lock', '-f', 'bench.yaml', '--plain-http', site.host);
export const pullUnsigned = (site: Site, to: string): Command =>
  ours(site, 'pull', '-f', 'bench.yaml', '-o', to, '--unsigned', '--plain-http', site.host);
export const pullSigned = (site: Site, to: string): Command =>
  ours(site, 'pull', '-f', 'bench.yaml', '-o', to, '--key', 'bench.key', '--plain-http', site.host);
export const verify = (site: Site, bundle: string): Command => ours(site, 'verify', bundle, '--trust', 'bench.pub');
export const load = (site: Site, bundle: string, target: string, state: string): Command =>
  ours(
    site,
    ...['load', bundle, '--trust', 'bench.pub', '--registry', target, '--plain-http', target],
    ...['--state', state, '--skip-mirrors'],
  );

export const skopeoCopy = (site: Site, bundle: string, target: string): Command =>
  eachRef(
    site,
    'skopeo',
    `'${tool('skopeo')}' copy -q --all --dest-tls-verify=false 'oci:${bundle}:${site.host}/'"$name:$tag" "docker://${target}/$name:$tag"`,
  );
export const orasCopy = (site: Site, bundle: string, target: string): Command =>
  eachRef(
    site,
    'oras',
    `'${tool('oras')}' cp --no-tty --to-plain-http --from-oci-layout-path '${bundle}' '${site.host}/'"$name:$tag" "${target}/$name:$tag"`,
  );
export const regctlCopy = (site: Site, bundle: string, target: string): Command => {
  const list = site.images
    .map(
      ({ repository, tag, digest }) =>
        `'${tool('regctl')}' image copy --host reg=${target},tls=disabled 'ocidir://${bundle}@${digest}' '${target}/${repository}:${tag}' || exit 1`,
    )
    .join('\n');
  const script = join(site.directory, 'regctl.sh');
  writeFileSync(script, list);
  return { argv: ['sh', script], cwd: site.directory };
};
