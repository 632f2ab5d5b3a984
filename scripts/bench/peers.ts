/** The others' command lines: curl as the floor, crane, oras, regctl and skopeo as peers. */
import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { tool } from '../../test/support/tools.ts';
import type { Command } from './measure.ts';
import type { BenchImage } from './sets.ts';

/** `host` is the origin. */
export type Site = Readonly<{ host: string; directory: string; images: readonly BenchImage[] }>;
export type Peer = 'crane' | 'oras' | 'regctl' | 'skopeo';

/** One shell for all references, so that a shell per reference is not counted. `line` uses $name (`bench/forty-1`), $tag and $digest. */
function eachRef(site: Site, line: string): Command {
  const list = join(site.directory, 'references');
  writeFileSync(list, site.images.map(({ repository, tag, digest }) => `${repository} ${tag} ${digest}\n`).join(''));
  const script = `while read -r name tag digest; do ${line} || exit 1; done < '${list}'`;
  return { argv: ['sh', '-c', script], cwd: site.directory };
}

function curl(site: Site, name: string, lines: readonly string[], ...flags: string[]): Command {
  const config = join(site.directory, name);
  writeFileSync(config, lines.join(''));
  return {
    argv: [tool('curl'), '-s', '-f', ...flags, '--parallel', '--parallel-max', '8', '--config', config],
    cwd: site.directory,
  };
}

/** Every blob to the disk, eight at a time, no hash: what the network and the disk allow. */
export function curlBlobs({ images, ...site }: Site, to: string): Command {
  const urls = new Map(images.flatMap(({ repository, blobs }) => blobs.map(({ digest }) => [digest, repository] as const)));
  const lines = [...urls].map(
    ([digest, repository]) =>
      `url = "http://${site.host}/v2/${repository}/blobs/${digest}"\noutput = "${to}/${digest.slice(7)}"\n`,
  );
  return curl({ images, ...site }, 'curl.blobs', lines, '--create-dirs');
}

/** HEAD of every tag. */
export function curlTags(site: Site): Command {
  const lines = site.images.map(
    ({ repository, tag }) => `url = "http://${site.host}/v2/${repository}/manifests/${tag}"\noutput = "/dev/null"\n`,
  );
  return curl(site, 'curl.tags', lines, '--head', '-H', 'Accept: application/vnd.oci.image.manifest.v1+json');
}

/** sha256sum of every blob of a bundle. @param processes 1, or one for each core */
export const sha256sum = (bundle: string, processes: 'one' | 'one per core'): Command => {
  const parallel = processes === 'one' ? '-n 1000' : `-n 4 -P ${availableParallelism()}`;
  return { argv: ['sh', '-c', `find '${bundle}/blobs' -type f -print0 | xargs -0 ${parallel} sha256sum > /dev/null`] };
};

/** Tags to digests. skopeo has no command that asks for the digest alone. */
export function resolve(site: Site, peer: Exclude<Peer, 'skopeo'>): Command {
  const line = {
    crane: `'${tool('crane')}' digest '${site.host}/'"$name:$tag"`,
    oras: `'${tool('oras')}' resolve --plain-http '${site.host}/'"$name:$tag"`,
    regctl: `'${tool('regctl')}' image digest --host reg=${site.host},tls=disabled '${site.host}/'"$name:$tag"`,
  }[peer];
  return eachRef(site, line);
}

/** Into an OCI layout at `to`. */
export function pull(site: Site, peer: Peer, to: string): Command {
  const { host } = site;
  if (peer === 'crane') {
    const references = site.images.map(({ repository, tag }) => `${host}/${repository}:${tag}`);
    return { argv: [tool('crane'), 'pull', '--format=oci', ...references, to], cwd: site.directory };
  }
  const line = {
    oras: `'${tool('oras')}' cp --no-tty --from-plain-http --to-oci-layout-path '${to}' '${host}/'"$name:$tag" '${host}/'"$name:$tag"`,
    regctl: `'${tool('regctl')}' image copy --host reg=${host},tls=disabled '${host}/'"$name:$tag" 'ocidir://${to}:'"\${name#bench/}"`,
    skopeo: `'${tool('skopeo')}' copy -q --all --src-tls-verify=false 'docker://${host}/'"$name:$tag" 'oci:${to}:${host}/'"$name:$tag"`,
  }[peer];
  return eachRef(site, line);
}

/** From the bundle, an OCI layout, into the registry at `target`. crane takes layouts with one entry only. */
export function push(site: Site, peer: Exclude<Peer, 'crane'>, bundle: string, target: string): Command {
  const { host } = site;
  const line = {
    oras: `'${tool('oras')}' cp --no-tty --to-plain-http --from-oci-layout-path '${bundle}' '${host}/'"$name:$tag" "${target}/$name:$tag"`,
    // By digest: ocidir takes a tag of another origin without a word.
    regctl: `'${tool('regctl')}' image copy --host reg=${target},tls=disabled 'ocidir://${bundle}@'"$digest" "${target}/$name:$tag"`,
    skopeo: `'${tool('skopeo')}' copy -q --all --dest-tls-verify=false 'oci:${bundle}:${host}/'"$name:$tag" "docker://${target}/$name:$tag"`,
  }[peer];
  return eachRef(site, line);
}

export const version = (peer: Peer): Command => ({ argv: [tool(peer), peer === 'skopeo' ? '--version' : 'version'] });
