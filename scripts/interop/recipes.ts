/** Which real programs the interoperation tests use, and where each comes from. Versions that can be pinned are. */

import { machineArchitecture, tripletOf } from '../debian/suite.ts';

/** How a program is started; without a field it is started as it is. */
export type Program = Readonly<{
  path: string;
  /** Arguments that the wrapper puts first; `@root@` stands for the folder that the packages were unpacked into. */
  before?: readonly string[];
  environment?: Readonly<Record<string, string>>;
}>;

export type DebianRecipe = Readonly<{
  kind: 'debian';
  name: string;
  suite: string;
  architectures?: readonly string[];
  packages: readonly string[];
  /** `with`: unpack the libraries they need too, and let the programs find them. `own-loader`: those and their own C library. */
  libraries?: 'with' | 'own-loader';
  programs: Readonly<Record<string, Program>>;
  /** Name of a link under `roots/` to the unpacked folder (or a folder in it). */
  roots?: Readonly<Record<string, string>>;
  /** Folder whose files are deleted but for the programs named: one emulator of fifty. */
  onlyProgramsIn?: string;
}>;

export type GoRecipe = Readonly<{
  kind: 'go';
  name: string;
  package: string;
  module: string;
  version: string;
  viaScratchModule?: boolean;
  /** Left out unless it is named: it compiles for so long that a run of everything would be twice as slow. */
  onlyByName?: boolean;
}>;

export type Recipe = DebianRecipe | GoRecipe;

const plain = (path: string): Program => ({ path });

/** podman and buildah read policy, registries and storage from below HOME; these must not be the user's own. */
const CONTAINERS = {
  HOME: '@home@',
  CONTAINERS_REGISTRIES_CONF: '@home@/registries.conf',
  CONTAINERS_STORAGE_CONF: '@home@/storage.conf',
};

const triplet = tripletOf(machineArchitecture());

const DEBIAN: readonly DebianRecipe[] = [
  {
    kind: 'debian',
    name: 'peers-12',
    suite: 'bookworm',
    libraries: 'with',
    packages: [
      ...['docker-registry', 'skopeo', 'umoci', 'buildah', 'podman', 'conmon', 'crun', 'golang-github-containers-common'],
      ...['tinyproxy-bin', 'apache2-utils', 'strace', 'openssl', 'curl', 'runc'],
    ],
    programs: {
      'docker-registry': plain('usr/bin/docker-registry'),
      skopeo: { path: 'usr/bin/skopeo', before: ['--policy', '@home@/.config/containers/policy.json'] },
      umoci: plain('usr/bin/umoci'),
      buildah: { path: 'usr/bin/buildah', environment: CONTAINERS },
      podman: { path: 'usr/bin/podman', environment: CONTAINERS },
      tinyproxy: plain('usr/bin/tinyproxy'),
      htpasswd: plain('usr/bin/htpasswd'),
      strace: plain('usr/bin/strace'),
      openssl: plain('usr/bin/openssl'),
      curl: plain('usr/bin/curl'),
      runc: plain('usr/sbin/runc'),
    },
  },
  {
    kind: 'debian',
    name: 'systemd-analyze',
    suite: 'bookworm',
    libraries: 'with',
    packages: ['systemd'],
    programs: { 'systemd-analyze': plain('usr/bin/systemd-analyze') },
  },
  {
    kind: 'debian',
    name: 'busybox-static',
    suite: 'bookworm',
    packages: ['busybox-static'],
    programs: { busybox: plain('bin/busybox') },
  },
  {
    kind: 'debian',
    name: 'busybox-static-arm64',
    suite: 'bookworm',
    architectures: ['arm64'],
    packages: ['busybox-static:arm64'],
    programs: { 'busybox-arm64': plain('bin/busybox') },
  },
  {
    kind: 'debian',
    name: 'qemu-user-static',
    suite: 'bookworm',
    packages: ['qemu-user-static'],
    programs: { 'qemu-aarch64-static': plain('usr/bin/qemu-aarch64-static') },
    onlyProgramsIn: 'usr/bin',
  },
  {
    kind: 'debian',
    name: 'arm64-cross',
    suite: 'bookworm',
    packages: ['libc6-arm64-cross', 'libstdc++6-arm64-cross', 'libatomic1-arm64-cross', 'libgcc-s1-arm64-cross'],
    programs: {},
    roots: { 'arm64-cross': 'usr/aarch64-linux-gnu' },
  },
  { kind: 'debian', name: 'libc6-11', suite: 'bullseye', packages: ['libc6'], programs: {}, roots: { 'libc6-11': '.' } },
  { kind: 'debian', name: 'libc6-12', suite: 'bookworm', packages: ['libc6'], programs: {}, roots: { 'libc6-12': '.' } },
  {
    kind: 'debian',
    name: 'containerd',
    suite: 'sid',
    packages: ['containerd'],
    programs: { containerd: plain('usr/bin/containerd'), ctr: plain('usr/bin/ctr') },
  },
  { kind: 'debian', name: 'cosign', suite: 'sid', packages: ['cosign'], programs: { cosign: plain('usr/bin/cosign') } },
  { kind: 'debian', name: 'cosign-2', suite: 'trixie', packages: ['cosign'], programs: { 'cosign-2': plain('usr/bin/cosign') } },
  { kind: 'debian', name: 'oras', suite: 'sid', packages: ['oras'], programs: { oras: plain('usr/bin/oras') } },
  {
    kind: 'debian',
    name: 'skopeo-sid',
    suite: 'sid',
    libraries: 'own-loader',
    packages: ['skopeo', 'libc6'],
    programs: { 'skopeo-sid': { path: 'usr/bin/skopeo', before: ['--policy', '@home@/.config/containers/policy.json'] } },
  },
  {
    // Debian 12's is built without Sigstore.
    kind: 'debian',
    name: 'podman-sid',
    suite: 'sid',
    libraries: 'own-loader',
    packages: ['podman', 'conmon', 'crun', 'libc6'],
    programs: { 'podman-sid': plain('usr/bin/podman'), 'conmon-sid': plain('usr/bin/conmon'), 'crun-sid': plain('usr/bin/crun') },
  },
];

const go = (name: string, module: string, command: string, version: string): GoRecipe => ({
  kind: 'go',
  name,
  module,
  package: `${module}/${command}`,
  version,
});

const GO: readonly GoRecipe[] = [
  go('crane', 'github.com/google/go-containerregistry', 'cmd/crane', 'v0.22.1'),
  go('regctl', 'github.com/regclient/regclient', 'cmd/regctl', 'v0.11.7'),
  go('registry-3', 'github.com/distribution/distribution/v3', 'cmd/registry', 'v3.1.2'),
  // Its module has no list of versions behind the proxy, so `go install` of a version does not find it.
  { ...go('olareg', 'github.com/olareg/olareg', 'cmd/olareg', 'v0.2.2'), viaScratchModule: true },
  // A keyless Sigstore. Rekor v2 is one program per storage; `posix` keeps the log in a folder.
  { kind: 'go', name: 'fulcio', module: 'github.com/sigstore/fulcio', package: 'github.com/sigstore/fulcio', version: 'v1.8.8' },
  go('rekor-server', 'github.com/sigstore/rekor-tiles/v2', 'cmd/rekor-server/posix', 'v2.3.0'),
  { ...go('gator', 'github.com/open-policy-agent/gatekeeper/v3', 'cmd/gator', 'v3.23.1'), onlyByName: true },
  go('timestamp-server', 'github.com/sigstore/timestamp-authority/v2', 'cmd/timestamp-server', 'v2.0.4'),
];

export const RECIPES: readonly Recipe[] = [...GO, ...DEBIAN];

/** Folders of libraries in an unpacked root, in the order of search. */
export const LIBRARY_FOLDERS = [`usr/lib/${triplet}`, `lib/${triplet}`, 'usr/lib', 'lib'];

/** Names of the programs that a recipe brings. */
export const programsOf = (recipe: Recipe): string[] => (recipe.kind === 'go' ? [recipe.name] : Object.keys(recipe.programs));
