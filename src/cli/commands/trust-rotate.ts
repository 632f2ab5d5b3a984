import { BundleError } from '../../core/errors.ts';
import type { Rotation } from '../../sign/rotation.ts';
import type { CommandDefinition } from '../command.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { signingKeysFor } from '../signing-keys.ts';
import { keysToAdd, thresholdOf, timeFor } from '../trust-flags.ts';

export const trustRotateCommand: CommandDefinition = {
  usage: 'trust rotate [dir]',
  describe: 'change trust on many machines by a file that those who are trusted now sign',
  positionals: { dir: { type: 'string', describe: 'directory of the trust' } },
  options: [
    'add',
    'remove',
    'revoke',
    'threshold',
    'from',
    'until',
    'for-bundle',
    'sign',
    'apply',
    'key',
    'key-password-file',
    'output',
    'dry-run',
    'state',
  ],
  examples: [
    ['$0 trust rotate trust/ --remove ben --add carla=carla.pub -o rotation.json', 'what shall change'],
    ['$0 trust rotate --sign rotation.json --key anna.key', 'by each of those who must sign, on the machine of each'],
    ['$0 trust rotate /etc/bundle/trust --apply rotation.json', 'at node-1: checks the signatures, then replaces trust.json'],
  ],
  async run(args, context) {
    const making = args.add !== undefined || args.remove !== undefined || args.threshold !== undefined;
    const ways = [making, args.sign !== undefined, args.apply !== undefined].filter((way) => way).length;
    if (ways !== 1) {
      throw new BundleError(
        'E_USAGE',
        'want one of three: what changes (--add, --remove, --threshold), --sign FILE or --apply FILE',
        {
          hint: 'see "bundle trust rotate --help"',
        },
      );
    }
    if (args.output === '-' && args.json)
      throw new BundleError('E_USAGE', '--json and "-o -" both want standard output', { hint: 'give -o FILE with --json' });
    if (args.sign !== undefined) return sign(args.sign, args, context);
    if (args.dir === undefined) throw new BundleError('E_USAGE', 'which trust? Name its directory');
    return making ? make(String(args.dir), args, context) : apply(String(args.dir), args, context);
  },
};

async function make(directory: string, args: Args, context: Context): Promise<number> {
  const { readTrustDocument } = await import('../../sign/trust-store.ts');
  const { changedTrust } = await import('../../sign/trust-change.ts');
  const { makeRotation } = await import('../../sign/rotation.ts');
  const { requireRotatable } = await import('../../sign/rotation-check.ts');
  const { withSignaturesThere } = await import('../../sign/rotation-file.ts');
  const now = await timeFor(args, context);
  const from = await readTrustDocument(context.fs, directory);
  const add = await keysToAdd(args.add ?? [], args, context, now);
  const revoke = args.revoke ?? false;
  const to = changedTrust(from, { add, remove: args.remove ?? [], revoke, threshold: thresholdOf(args) }, now);
  if (to === from) throw new BundleError('E_USAGE', 'the trust says all that already: there is nothing to rotate');
  const path = args.output ?? `rotation-${to.version}.json`;
  const made = makeRotation(from, to);
  requireRotatable(made, now);
  const start = path === '-' ? made : await withSignaturesThere(context.fs, path, made);
  const signed = await withOwnSignatures(start, now, args, context);
  await hand(signed, path, true, now, args, context);
  return 0;
}

async function sign(path: string, args: Args, context: Context): Promise<number> {
  const { readRotation } = await import('../../sign/rotation-file.ts');
  if (args.key === undefined) throw new BundleError('E_USAGE', 'no key to sign the rotation with', { hint: 'say --key FILE' });
  const now = await timeFor(args, context);
  const rotation = await readRotation(context.fs, path);
  if (args.dir !== undefined) await requireStartsHere(rotation, String(args.dir), context);
  const signed = await withOwnSignatures(rotation, now, args, context);
  const output = args.output ?? path;
  await hand(signed, output, signed.added.length > 0 || output !== path, now, args, context);
  return 0;
}

type Signed = Readonly<{ rotation: Rotation; added: readonly string[]; present: readonly string[] }>;

/** Writes the file, unless it says all that already, and tells about it. @param path "-": standard output */
async function hand(
  { rotation, added, present }: Signed,
  path: string,
  differs: boolean,
  now: number,
  args: Args,
  context: Context,
): Promise<void> {
  const { writeRotation } = await import('../../sign/rotation-file.ts');
  const { encodeRotation } = await import('../../sign/rotation.ts');
  const { printRotation } = await import('../render/trust.ts');
  const dryRun = args['dry-run'] ?? false;
  if (!dryRun && path === '-') context.stdout(Buffer.from(encodeRotation(rotation)).toString('utf8'));
  else if (!dryRun && differs) await writeRotation(context.fs, path, rotation);
  await printRotation(rotation, now, args, context, { path, made: { added, present, dryRun } });
}

async function requireStartsHere(rotation: Rotation, directory: string, context: Context): Promise<void> {
  const { readTrustDocument } = await import('../../sign/trust-store.ts');
  const { trustFingerprint } = await import('../../sign/trust-document.ts');
  const here = await readTrustDocument(context.fs, directory);
  if (trustFingerprint(here) === trustFingerprint(rotation.from)) return;
  throw new BundleError(
    'E_UNTRUSTED',
    `the rotation starts from another trust (version ${rotation.from.version}) than ${directory} (${here.version})`,
    {
      hint: 'compare it with "bundle trust show" before you sign',
    },
  );
}

async function withOwnSignatures(given: Rotation, now: number, args: Args, context: Context): Promise<Signed> {
  const { signRotation } = await import('../../sign/rotation-check.ts');
  let rotation = given;
  const [added, present]: [string[], string[]] = [[], []];
  for (const key of await signingKeysFor(args, context)) {
    const signed = await signRotation(rotation, key, now);
    (signed === rotation ? present : added).push(key.publicKey.keyid);
    rotation = signed;
  }
  return { rotation, added, present };
}

async function apply(directory: string, args: Args, context: Context): Promise<number> {
  const { changeTrust, readTrustDocument } = await import('../../sign/trust-store.ts');
  const { followRotations } = await import('../../sign/rotation-check.ts');
  const { readRotation } = await import('../../sign/rotation-file.ts');
  const { trustDifference } = await import('../../sign/trust-change.ts');
  const { printTrust } = await import('../render/trust.ts');
  const now = await timeFor(args, context);
  const rotations: Rotation[] = [];
  for (const path of args.apply ?? []) rotations.push(await readRotation(context.fs, path));
  let before = await readTrustDocument(context.fs, directory);
  let after = await followRotations(before, rotations, now);
  // What is in force already needs no lock, and no right to write.
  if (after !== before && !args['dry-run'])
    ({ before, after } = await changeTrust(context.fs, directory, 'bundle trust rotate', (current) =>
      followRotations(current, rotations, now),
    ));
  const change = { made: after !== before, dryRun: args['dry-run'] ?? false, lines: trustDifference(before, after) };
  printTrust(after, now, args, context, change);
  return 0;
}
