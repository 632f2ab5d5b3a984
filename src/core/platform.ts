import type { DescriptorPlatform } from './descriptor.ts';
import { BundleError } from './errors.ts';

/** `os/arch[/variant]`, normalised as containerd does it, so that equal platforms are equal strings. */
export type Platform = string & { readonly __platform: unique symbol };

// ASCII only, and tested before it is lower case: U+212A becomes a "k" there.
const FORM = /^[A-Za-z0-9]{1,32}\/[A-Za-z0-9_-]{1,32}(?:\/[A-Za-z0-9._-]{1,32})?$/;
// Maps, not objects: the words come from other people's indexes, and "constructor" is in every object.
const ARCH_ALIAS: ReadonlyMap<string, readonly [string, string?]> = new Map([
  ['x86_64', ['amd64']],
  ['x86-64', ['amd64']],
  ['aarch64', ['arm64']],
  ['armhf', ['arm', 'v7']],
  ['armel', ['arm', 'v6']],
  ['i386', ['386']],
]);
// containerd platforms/database.go: the variant that is meant when none is written. It is dropped from the string where it says nothing more.
const DEFAULT_VARIANT: ReadonlyMap<string, string> = new Map([
  ['arm', 'v7'],
  ['arm64', 'v8'],
  ['amd64', 'v1'],
]);

function join(os: string, arch: string, written: string | undefined): Platform {
  const [architecture, aliasVariant] = ARCH_ALIAS.get(arch) ?? [arch];
  const usual = DEFAULT_VARIANT.get(architecture);
  // containerd takes "7" for "v7" and "8" for "v8" on arm.
  const variant = written !== undefined && /^arm(64)?$/.test(architecture) ? written.replace(/^(?=[5-9]$)/, 'v') : written;
  const v = variant ?? aliasVariant ?? usual;
  const shown = v === undefined || (architecture !== 'arm' && v === usual) ? '' : `/${v}`;
  return `${os}/${architecture}${shown}` as Platform;
}

/** @throws BundleError E_MANIFEST when `text` is not `os/arch[/variant]` */
export function parsePlatform(text: string): Platform {
  if (!FORM.test(text))
    throw new BundleError(
      'E_MANIFEST',
      `platform ${JSON.stringify(text.slice(0, 100))} is not of the form os/arch[/variant], such as linux/arm64`,
    );
  const [os, arch, variant] = text.toLowerCase().split('/') as [string, string, string?];
  return join(os, arch, variant);
}

/** Windows has one entry per OS build: all of them are the same platform here. */
export const platformOf = (p: DescriptorPlatform): Platform =>
  join(p.os.toLowerCase(), p.architecture.toLowerCase(), p.variant?.toLowerCase());

/** BuildKit marks attestation manifests so (moby/buildkit docs/attestations/attestation-storage.md). */
export const isUnknownPlatform = (p: DescriptorPlatform | undefined): boolean =>
  p?.os === 'unknown' && p.architecture === 'unknown';
