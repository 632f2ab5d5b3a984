import { generationPath, TRUSTED_ROOT } from '../bundle/layout.ts';
import type { VerifiedBundle } from '../bundle/verify.ts';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { placesAt } from '../load/target.ts';
import { parsePublicKeys } from '../sign/public-key.ts';
import { TRUST_FILE } from '../sign/trust.ts';
import type { Context } from './context.ts';
import { namedRegistries } from './named-registries.ts';
import type { Args } from './options.ts';
import { DEFAULT_TRUST } from './ports.ts';
import { printJson } from './render/failure.ts';

type Verified = Pick<VerifiedBundle, 'generation' | 'signers'>;

/**
 * One line per image and name at the registry: the cosign (2.5 or newer) command that verifies it there, without a network beyond the registry.
 * @throws BundleError E_USAGE when no registry is named, or none of the trusted keys that signed is a file
 */
export async function printVerify(args: Args, context: Context, { generation, signers }: Verified): Promise<void> {
  const [registry] = await namedRegistries(args);
  if (registry === undefined)
    throw new BundleError('E_USAGE', 'cosign needs the name of the registry', { hint: 'add --endpoint https://node-1:5000' });
  const root = `${String(args.bundle)}/${generationPath(generation.sequence)}/${TRUSTED_ROOT}`;
  const flags = [
    ...['--key', await keyFile(args, context, signers), '--insecure-ignore-tlog'],
    // cosign 2.6.3 to 3.0.3 want a root for bundles even where no log is asked for; without one they would look for Sigstore's.
    ...(generation.trustedRootBytes === undefined ? [] : ['--trusted-root', root]),
    ...(registry.plain ? ['--allow-http-registry'] : []),
    ...(args['ca-file'] ?? []).slice(0, 1).flatMap((file) => ['--registry-cacert', file]),
  ];
  const verify = generation.statement.predicate.contents.flatMap(({ ref, aliases, targetDigest }) =>
    placesAt({ ...registry, name: registry.host }, ref, aliases ?? []).map(({ repository, tag }) => {
      const image = `${registry.host}/${repository}${tag === undefined ? `@${targetDigest}` : `:${tag}`}`;
      return { ref, image, command: ['cosign', 'verify', ...flags, image] };
    }),
  );
  if (args.json) printJson(context, { verify });
  else context.stdout(verify.map(({ command }) => `${command.map(shellWord).join(' ')}\n`).join(''));
}

/** cosign takes one file: of those that --trust names, one whose key signed this generation. */
async function keyFile(args: Args, context: Context, signers: readonly string[]): Promise<string> {
  for (const path of args.trust ?? [DEFAULT_TRUST]) {
    for (const file of await keyFilesAt(context, path)) {
      const text = (await context.fs.readUserFile(file, LIMITS.keyFileBytes)).toString('latin1');
      // The first key is the one that cosign reads.
      if (signers.includes(parsePublicKeys(text, file)[0]?.keyid ?? '')) return file;
    }
  }
  throw new BundleError(
    'E_USAGE',
    'cosign needs a file with the key, and none that --trust names holds one that signed this generation',
    {
      hint: `name it beside the rest: --trust release.pub (a ${TRUST_FILE} with the keys in it is nothing that cosign reads)`,
    },
  );
}

async function keyFilesAt(context: Context, path: string): Promise<string[]> {
  const kind = (await context.fs.stat(path))?.kind;
  if (kind !== 'directory') return kind === undefined ? [] : [path];
  const names = await context.fs.list(path);
  return names.filter((name) => name.endsWith('.pub') && !name.startsWith('.')).map((name) => `${path}/${name}`);
}

/** As a POSIX shell takes it for one word. */
const shellWord = (word: string): string => (/^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
