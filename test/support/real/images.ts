/** Real images from Debian's busybox, made by umoci, skopeo, buildah, regctl and oras and put into a registry. */

import { randomBytes } from 'node:crypto';
import { mkdir, realpath, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { tool } from '../tools.ts';
import { type Clients, sha256Of } from './clients.ts';
import { must } from './programs.ts';
import type { Registry } from './registries.ts';

/** `repository:tag` of everything that {@link makeImages} leaves,. */
export const NAMES = {
  two: 'library/tools:1',
  three: 'team/tools:1',
  /** One of the platforms of `three` under a tag of its own. */
  part: 'team/tools:amd64',
  app: 'team/app:1',
  docker: 'docker/app:1',
  dockerList: 'docker/tools:1',
  zstd: 'zstd/app:1',
  artifact: 'artifacts/policy:1',
  nested: 'nested/all:1',
  attested: 'attested/app:1',
} as const;

const OCI_INDEX = 'application/vnd.oci.image.index.v1+json';
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/** Fills an open registry with every kind of content that crosses the gap. */
export async function makeImages(registry: Registry, clients: Clients, directory: string): Promise<void> {
  const at = (name: string): string => `${registry.host}/${name}`;
  await mkdir(directory, { recursive: true });
  const layout = join(directory, 'layout');
  await makeLayout(layout, directory);
  const push = (tag: string, name: string, ...flags: string[]): Promise<string> =>
    clients.skopeo('copy', '-q', '--dest-tls-verify=false', ...flags, `oci:${layout}:${tag}`, `docker://${at(name)}`);
  await Promise.all([
    ...['amd64', 'arm64'].map((tag) => push(tag, `library/tools:${tag}`)),
    ...['amd64', 'arm64', 'arm'].map((tag) => push(tag, `team/tools:${tag}`)),
    push('app', NAMES.app),
    push('app', NAMES.docker, '--format', 'v2s2'),
    pushZstd(at(NAMES.zstd), directory),
  ]);
  await Promise.all([
    index(registry, NAMES.two, ['amd64', 'arm64']),
    index(registry, NAMES.three, ['amd64', 'arm64', 'arm']),
    pushArtifact(registry, clients, directory),
  ]);
  await Promise.all([
    clients.skopeo(
      ...['copy', '-q', '--all', '--format', 'v2s2', '--src-tls-verify=false', '--dest-tls-verify=false'],
      ...[`docker://${at(NAMES.two)}`, `docker://${at(NAMES.dockerList)}`],
    ),
    pushNested(registry, clients, directory),
    pushAttested(registry, clients, directory),
  ]);
}

/** Copies them to another registry, bytes as they are. */
export async function copyImages(from: Registry, to: Registry, clients: Clients): Promise<void> {
  // Two copies into one repository at once race in distribution 2.8: the second tag is set afterwards.
  const names = Object.values(NAMES).filter((name) => name !== NAMES.part);
  await Promise.all(names.map((name) => clients.crane('copy', `${from.host}/${name}`, `${to.host}/${name}`)));
  await clients.crane('copy', `${from.host}/${NAMES.part}`, `${to.host}/${NAMES.part}`);
}

/** Three platforms that share their first layer, and an image with one layer more. */
async function makeLayout(layout: string, directory: string): Promise<void> {
  const env = { HOME: directory };
  const umoci = (...args: string[]): Promise<Buffer> => must(tool('umoci'), args, { env });
  const shared = join(directory, 'shared');
  await writeFile(shared, randomBytes(300_000));
  await utimes(shared, 1_700_000_000, 1_700_000_000);
  await writeFile(join(directory, 'app'), '#!/bin/busybox sh\necho carried\n');
  await umoci('init', '--layout', layout);
  for (const architecture of ['amd64', 'arm64', 'arm']) {
    const image = `${layout}:${architecture}`;
    const busybox = await realpath(tool(architecture === 'amd64' ? 'busybox' : 'busybox-arm64'));
    await umoci('new', '--image', image);
    await umoci('insert', '--rootless', '--image', image, shared, '/etc/shared');
    await umoci('insert', '--rootless', '--image', image, busybox, '/bin/busybox');
    await umoci(
      'config',
      '--image',
      image,
      '--os',
      'linux',
      '--architecture',
      architecture,
      '--config.entrypoint',
      '/bin/busybox',
    );
  }
  await umoci('tag', '--image', `${layout}:amd64`, 'app');
  await umoci('insert', '--rootless', '--image', `${layout}:app`, join(directory, 'app'), '/app');
}

async function index(registry: Registry, name: string, tags: readonly string[]): Promise<void> {
  const repository = `${registry.host}/${name.split(':')[0]}`;
  const env = { HOME: registry.storage };
  const host = ['--host', `reg=${registry.host},tls=disabled`];
  const refs = tags.flatMap((tag) => ['--ref', `${repository}:${tag}`]);
  await must(tool('regctl'), ['index', 'create', ...host, `${registry.host}/${name}`, ...refs], { env });
}

async function pushZstd(name: string, directory: string): Promise<void> {
  const store = ['--root', join(directory, 'store'), '--runroot', join(directory, 'run'), '--storage-driver', 'vfs'];
  const env = { TMPDIR: directory, XDG_RUNTIME_DIR: directory };
  const buildah = async (...args: string[]): Promise<string> =>
    (await must(tool('buildah'), [...store, ...args], { env })).toString('utf8').trim();
  const container = await buildah('from', 'scratch');
  await buildah('copy', '-q', container, await realpath(tool('busybox')), '/bin/busybox');
  await buildah('config', '--entrypoint', '["/bin/busybox"]', container);
  const image = await buildah('commit', '-q', container);
  await buildah('push', '-q', '--tls-verify=false', '--compression-format', 'zstd', image, `docker://${name}`);
}

async function pushArtifact(registry: Registry, clients: Clients, directory: string): Promise<void> {
  await writeFile(join(directory, 'policy.rego'), 'package policy\ndefault allow := false\n');
  await clients.oras(
    registry,
    ['push'],
    [
      ...[
        '--artifact-type',
        'application/vnd.example.policy',
        '--annotation',
        'org.opencontainers.image.created=2026-11-21T08:00:00Z',
      ],
      ...[`${registry.host}/${NAMES.artifact}`, 'policy.rego:text/plain'],
    ],
    directory,
  );
}

type Entry = Readonly<{ name: string; extra?: Readonly<Record<string, unknown>> }>;

/** The descriptor of what is in the registry, copied into the repository where an index will name it. */
async function entry(clients: Clients, registry: Registry, into: string, { name, extra }: Entry): Promise<unknown> {
  const bytes = await clients.skopeoRaw(`${registry.host}/${name}`);
  const digest = sha256Of(bytes);
  await clients.crane('copy', `${registry.host}/${name}`, `${registry.host}/${into}:part-${digest.slice(7, 19)}`);
  const { mediaType = OCI_MANIFEST } = JSON.parse(bytes.toString('utf8')) as { mediaType?: string };
  return { mediaType, digest, size: bytes.length, ...extra };
}

async function pushIndex(
  registry: Registry,
  clients: Clients,
  directory: string,
  name: string,
  entries: readonly Entry[],
): Promise<void> {
  const repository = name.split(':')[0] as string;
  const manifests: unknown[] = [];
  // One after the other: distribution 2.8 loses a blob for a moment while another client mounts it into the same repository.
  for (const one of entries) manifests.push(await entry(clients, registry, repository, one));
  const file = join(directory, `${repository.replaceAll('/', '-')}.json`);
  await writeFile(file, JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  await clients.oras(registry, ['manifest', 'push'], ['--media-type', OCI_INDEX, `${registry.host}/${name}`, file]);
}

/** An index whose children are an index, an image and an artifact. */
const pushNested = (registry: Registry, clients: Clients, directory: string): Promise<void> =>
  pushIndex(registry, clients, directory, NAMES.nested, [{ name: NAMES.two }, { name: NAMES.app }, { name: NAMES.artifact }]);

/** As BuildKit leaves it: each image beside an entry of unknown platform that attests it. */
async function pushAttested(registry: Registry, clients: Clients, directory: string): Promise<void> {
  const unknown = { architecture: 'unknown', os: 'unknown' };
  const images = ['amd64', 'arm64'].map(async (architecture): Promise<Entry[]> => {
    const name = `library/tools:${architecture}`;
    const digest = sha256Of(await clients.skopeoRaw(`${registry.host}/${name}`));
    const about = { 'vnd.docker.reference.type': 'attestation-manifest', 'vnd.docker.reference.digest': digest };
    const proof = `attested/proof:${architecture}`;
    const file = `${architecture}.intoto.json`;
    await writeFile(join(directory, file), JSON.stringify({ _type: 'https://in-toto.io/Statement/v1', subject: digest }));
    const layer = `${file}:application/vnd.in-toto+json`;
    await clients.oras(registry, ['push'], ['--image-spec', 'v1.0', `${registry.host}/${proof}`, layer], directory);
    return [
      { name, extra: { platform: { architecture, os: 'linux' } } },
      { name: proof, extra: { platform: unknown, annotations: about } },
    ];
  });
  await pushIndex(registry, clients, directory, NAMES.attested, (await Promise.all(images)).flat());
}
