import type { DescriptorPlatform } from './descriptor.ts';
import { BundleError } from './errors.ts';

/** `os/arch[/variant]`, normalised as containerd does it, so that equal platforms are equal strings. */
export type Platform = string & { readonly __platform: unique symbol };

const FORM = /^[a-z0-9]+\/[a-z0-9_-]+(?:\/[a-z0-9._-]+)?$/;
const ARCH_ALIAS: Readonly<Record<string, readonly [string, string?]>> = {
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  aarch64: ['arm64'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
  i386: ['386'],
};
// containerd platforms/database.go: the variant that is meant when none is written. It is dropped from the string where it says nothing more.
const DEFAULT_VARIANT: Readonly<Record<string, string>> = { arm: 'v7', arm64: 'v8', amd64: 'v1' };

function join(os: string, arch: string, variant: string | undefined): Platform {
  const [architecture, aliasVariant] = ARCH_ALIAS[arch] ?? [arch];
  const v = variant ?? aliasVariant ?? DEFAULT_VARIANT[architecture];
  const shown = v === undefined || (architecture !== 'arm' && v === DEFAULT_VARIANT[architecture]) ? '' : `/${v}`;
  return `${os}/${architecture}${shown}` as Platform;
}

/** @throws BundleError E_MANIFEST when `text` is not `os/arch[/variant]` */
export function parsePlatform(text: string): Platform {
  const lower = text.toLowerCase();
  if (!FORM.test(lower))
    throw new BundleError(
      'E_MANIFEST',
      `platform ${JSON.stringify(text)} is not of the form os/arch[/variant], such as linux/arm64`,
    );
  const [os, arch, variant] = lower.split('/') as [string, string, string?];
  return join(os, arch, variant);
}

/** Windows has one entry per OS build: all of them are the same platform here. */
export const platformOf = (p: DescriptorPlatform): Platform =>
  join(p.os.toLowerCase(), p.architecture.toLowerCase(), p.variant?.toLowerCase());

/** BuildKit marks attestation manifests so (moby/buildkit docs/attestations/attestation-storage.md). */
export const isUnknownPlatform = (p: DescriptorPlatform | undefined): boolean =>
  p?.os === 'unknown' && p.architecture === 'unknown';
