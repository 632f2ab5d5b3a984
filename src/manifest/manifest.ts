import type { Platform } from '../core/platform.ts';
import type { Reference } from '../core/reference.ts';
import type { VerifySetting } from './verify-setting.ts';

/** The user's wish, checked: what `manifests/<name>.yaml` says, with every default filled in. */
export type Manifest = Readonly<{
  name: string;
  platforms: 'all' | readonly Platform[];
  images: readonly ImageEntry[];
  /** The default of what upstream must have signed by; absent: nothing is asked. */
  verify?: VerifySetting;
  /** The default of `ImageEntry.evidence`. */
  evidence?: 'none';
  /** Trusted root of a Sigstore that is not the public one, as a path that can be opened. */
  trustedRoot?: string;
  /** Files and URLs of references still to be read; empty once expanded. */
  imageLists: readonly string[];
  /** How long after `created` a generation may be loaded, in milliseconds. */
  expiresMs?: number;
}>;

export type ImageEntry = Readonly<{
  ref: Reference;
  /** As the user wrote it. */
  text: string;
  /** Its own, or the manifest's. */
  platforms: 'all' | readonly Platform[];
  /** Its own, or the manifest's. */
  verify?: VerifySetting;
  /** Upstream's signatures and other referrers stay behind: nobody asks for them. Its own wish, or the manifest's. */
  evidence?: 'none';
  index?: 'exact';
  aliases: readonly Alias[];
  /** `file:line:column` */
  where: string;
}>;

/** An extra name at the target, below the target itself: `argoproj/argocd:v3.2.0`. */
export type Alias = Readonly<{ repository: string; tag: string }>;
