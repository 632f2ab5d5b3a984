import * as z from 'zod';
import { BundleError, isBundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { parsePlatform } from '../core/platform.ts';
import { parseReference, targetRepository } from '../core/reference.ts';
import { parseAlias } from './alias.ts';
import { parseDuration } from './duration.ts';
import { listSourceFault } from './list-source.ts';
import { pathFault, verifyKeysAt, verifySchema } from './verify-setting.ts';

/** A string that `parse` takes; what it throws becomes the message beside the line. */
const checkedBy = (parse: (text: string) => unknown): z.ZodString =>
  z.string().superRefine((text, context) => {
    try {
      parse(text);
    } catch (error) {
      if (!isBundleError(error)) throw error;
      context.addIssue({
        code: 'custom',
        message: error.hint === undefined ? error.message : `${error.message} (${error.hint})`,
      });
    }
  });

const reference = checkedBy((text) => targetRepository(parseReference(text))).meta({
  description:
    'An image or any other OCI artifact: docker.io/library/redis:7, ghcr.io/org/app:v1@sha256:…. No tag and no digest means latest.',
  examples: ['docker.io/library/traefik:v3.6.8'],
});

function platformOfList(text: string): void {
  if (text === 'all') throw new BundleError('E_MANIFEST', '"all" stands alone, without a list: platforms: all');
  parsePlatform(text);
}

const platforms = z
  .union([
    z.literal('all'),
    z
      .array(checkedBy(platformOfList).meta({ description: 'os/arch[/variant]', examples: ['linux/amd64', 'linux/arm64'] }))
      .min(1),
  ])
  .meta({ description: 'The platforms to carry, as os/arch[/variant], or "all". Each one asked for must exist at the origin.' });

const evidence = z.enum(['all', 'none']).meta({
  description:
    'Which signatures, attestations and SBOMs of upstream are carried: "all" (so when left out), or "none" for a registry that can\'t list them.',
});

const image = z
  .strictObject({
    ref: reference,
    platforms: platforms.optional().meta({ description: 'Instead of the default of the whole manifest, for this image only.' }),
    aliases: z
      .array(checkedBy(parseAlias).meta({ examples: ['argoproj/argocd:v3.2.0'] }))
      .max(LIMITS.aliases)
      .optional()
      .meta({ description: 'Extra names at the target (repository:tag, no host), for pods that name the target directly.' }),
    verify: verifySchema.optional(),
    evidence: evidence.optional(),
    index: z.literal('exact').optional().meta({
      description: '"exact": the tag means the original index at the target even when not all of its platforms are carried.',
    }),
  })
  .meta({ description: 'An image with settings of its own.' });

/** Names of devices on Windows, with or without an extension. */
const RESERVED = /^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)/;

const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'must be 1 to 64 characters of a-z 0-9 . _ - that begin with a letter or digit')
  .refine((text) => !text.includes('..'), 'must not contain ".."')
  .refine((text) => !text.endsWith('.'), 'must not end in a dot')
  .refine((text) => !RESERVED.test(text), 'is the name of a device on Windows, where the medium may be read')
  .meta({ description: 'The name of the bundle: its folder below bundles/, and what the target remembers generations by.' });

const manifestShape = z
  .strictObject({
    apiVersion: z.literal('bundle/v1').meta({ description: 'The version of this format.' }),
    name,
    platforms: platforms
      .optional()
      .meta({ description: 'The default for everything below: os/arch[/variant], or "all" (so when left out).' }),
    images: z
      .array(z.union([reference, image]))
      .max(LIMITS.imageListLines)
      .optional()
      .meta({ description: 'Images and other OCI artifacts, each as a reference or as a map with settings.' }),
    verify: verifySchema.optional(),
    evidence: evidence.optional(),
    trustedRoot: z
      .string()
      .superRefine((text, context) => {
        const fault = pathFault(text);
        if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
      })
      .optional()
      .meta({
        description:
          'The trusted root (trusted_root.json) of a Sigstore of your own, instead of the public one, for keyless verification.',
      }),
    imageLists: z
      .array(
        z.string().superRefine((text, context) => {
          const fault = listSourceFault(text);
          if (fault !== undefined) context.addIssue({ code: 'custom', message: fault });
        }),
      )
      .max(LIMITS.imageLists)
      .optional()
      .meta({
        description: 'Text files (paths beside this manifest, or http(s) URLs) with one reference a line; # begins a comment.',
      }),
    expires: checkedBy(parseDuration)
      .optional()
      .meta({
        description: 'How long after it was made a generation may be loaded: 12h, 30d, 6w. Left out: for ever.',
        examples: ['30d'],
      }),
  })
  .meta({ title: 'bundle manifest', description: 'What must cross the gap.' });

const UNVERIFIABLE =
  'nothing can be verified where "evidence" is "none": leave it out, or say verify: {unsigned: allowed} beside it';

/** Where a signature is demanded and none is carried, at what is written there: the image's own keys come before the manifest's. */
function unverifiable(file: z.infer<typeof manifestShape>): PropertyKey[][] {
  const holds = (verify: typeof file.verify, wanted: typeof file.evidence): boolean =>
    wanted === 'none' && verify !== undefined && verify.unsigned === undefined;
  const images = (file.images ?? []).flatMap((entry, i) => {
    if (typeof entry === 'string' || (entry.verify === undefined && entry.evidence === undefined)) return [];
    if (!holds(entry.verify ?? file.verify, entry.evidence ?? file.evidence)) return [];
    return [['images', i, entry.evidence === undefined ? 'verify' : 'evidence']];
  });
  return [...(holds(file.verify, file.evidence) ? [['evidence']] : []), ...images];
}

/** What a manifest may say. Strict on every level: a key that nothing reads would be a promise that nobody keeps. */
export const manifestSchema = manifestShape.superRefine((file, context) => {
  for (const path of unverifiable(file)) context.addIssue({ code: 'custom', message: UNVERIFIABLE, path });
});

export type ManifestFile = z.infer<typeof manifestSchema>;

/** The keys that are known at a path, for "did you mean". */
export function keysAt(path: readonly PropertyKey[]): string[] {
  const verify = path.indexOf('verify');
  if (verify !== -1) return verifyKeysAt(path.slice(verify + 1));
  return Object.keys(path.length === 0 ? manifestSchema.shape : image.shape);
}

/** JSON Schema of the manifest for editors; draft 07 is what YAML language servers read best. */
export const manifestJsonSchema = (): Record<string, unknown> => ({
  $id: 'urn:bundle-airgap:manifest:v1',
  ...z.toJSONSchema(manifestSchema, { target: 'draft-7', io: 'input' }),
});
