import { basename, dirname } from 'node:path';
import { BundleError } from '../../core/errors.ts';
import type { KeyToAdd } from '../../sign/trust-change.ts';
import type { CommandDefinition } from '../command.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { plural } from '../ports.ts';
import { printJson } from '../render/failure.ts';
import { keysToAdd, thresholdOf, timeFor } from '../trust-flags.ts';

const dir = {
  dir: { type: 'string', demandOption: true, describe: 'directory of the trust, such as /etc/bundle/trust' },
} as const;

export const trustInitCommand: CommandDefinition = {
  usage: 'trust init <dir>',
  describe: 'say whom this machine trusts: names, keys and how many must sign',
  positionals: dir,
  options: ['add', 'threshold', 'from', 'until', 'for-bundle', 'state'],
  examples: [
    [
      '$0 trust init /etc/bundle/trust --add anna=anna.pub --add ben=ben.pub --threshold 2',
      'both must sign; the same line gives the same fingerprint on every machine',
    ],
  ],
  async run(args, context) {
    const { firstTrust } = await import('../../sign/trust-change.ts');
    const { createTrust } = await import('../../sign/trust-store.ts');
    const now = await timeFor(args, context);
    const add = await keysToAdd(args.add ?? [], args, context, now);
    if (add.length === 0) throw new BundleError('E_USAGE', 'no key to trust', { hint: 'name each one: --add anna=anna.pub' });
    const threshold = thresholdOf(args);
    if (threshold === undefined && add.length > 1)
      throw new BundleError('E_USAGE', `how many of the ${add.length} keys must sign?`, {
        hint: 'say --threshold 2, for example',
      });
    const { printTrust } = await import('../render/trust.ts');
    const document = firstTrust(add, threshold ?? 1, now);
    await createTrust(context.fs, String(args.dir), document);
    printTrust(document, now, args, context, { made: true, dryRun: false, lines: [] });
    return 0;
  },
};

export const trustShowCommand: CommandDefinition = {
  usage: 'trust show <path>',
  describe: 'who is trusted here, until when and for what, and a fingerprint to compare; or what a rotation file changes',
  positionals: { path: { type: 'string', demandOption: true, describe: 'directory of the trust, or a rotation file' } },
  options: ['state'],
  examples: [['$0 trust show /etc/bundle/trust', 'read the fingerprint out to the one who set it up']],
  async run(args, context) {
    const { loadTrustPath, TRUST_FILE } = await import('../../sign/trust.ts');
    const named = String(args.path);
    const path = basename(named) === TRUST_FILE ? dirname(named) : named;
    const now = await timeFor(args, context);
    if (path.endsWith('.json')) return showRotation(path, now, args, context);
    const { document, keys, threshold } = await loadTrustPath(context.fs, path);
    const { printTrust } = await import('../render/trust.ts');
    if (document !== undefined) printTrust(document, now, args, context);
    else if (args.json) printJson(context, { path, form: 'keys', threshold, keys: keys.map(({ keyid }) => ({ keyid })) });
    else {
      context.stdout(
        `${path}: ${threshold} of ${plural(keys.length, 'key')} must sign; no names, no versions, can't be rotated\n`,
      );
      for (const { keyid } of keys) context.stdout(`  ${keyid}\n`);
    }
    return 0;
  },
};

async function showRotation(path: string, now: number, args: Args, context: Context): Promise<number> {
  const { readRotation } = await import('../../sign/rotation-file.ts');
  const { printRotation } = await import('../render/trust.ts');
  await printRotation(await readRotation(context.fs, path), now, args, context, { path });
  return 0;
}

export const trustAddCommand: CommandDefinition = {
  usage: 'trust add <dir> <keys..>',
  describe: 'trust one more key on this machine, or a known one on other terms, on the word of its administrator',
  positionals: { ...dir, keys: { type: 'string', array: true, demandOption: true, describe: 'NAME=FILE.pub' } },
  options: ['from', 'until', 'for-bundle', 'threshold', 'state'],
  examples: [
    ['$0 trust add /etc/bundle/trust carla=carla.pub --until 2027-12-31', 'got from Carla by another way than the medium'],
    ['$0 trust add /etc/bundle/trust lab=lab.pub --for-bundle lab', 'counts for the bundle "lab" alone'],
    ['$0 trust add /etc/bundle/trust carla=carla.pub', 'carla is there: without limits from now on'],
  ],
  async run(args, context) {
    const add = await keysToAdd(args.keys as string[], args, context, await timeFor(args, context));
    return change(args, context, { add, remove: [], revoke: false });
  },
};

export const trustRemoveCommand: CommandDefinition = {
  usage: 'trust remove <dir> <names..>',
  describe: 'trust a key no longer on this machine, at once',
  positionals: { ...dir, names: { type: 'string', array: true, demandOption: true, describe: 'names of keys' } },
  options: ['revoke', 'threshold', 'state'],
  examples: [['$0 trust remove /etc/bundle/trust ben --revoke', 'lost or stolen: it can not come back']],
  run: (args, context) => change(args, context, { add: [], remove: args.names as string[], revoke: args.revoke ?? false }),
};

type Change = Readonly<{ add: readonly KeyToAdd[]; remove: readonly string[]; revoke: boolean }>;

async function change(args: Args, context: Context, wanted: Change): Promise<number> {
  const { changedTrust, trustDifference } = await import('../../sign/trust-change.ts');
  const { changeTrust } = await import('../../sign/trust-store.ts');
  const { printTrust } = await import('../render/trust.ts');
  const now = await timeFor(args, context);
  const threshold = thresholdOf(args);
  const directory = String(args.dir);
  const { before, after } = await changeTrust(context.fs, directory, 'bundle trust', (current) =>
    changedTrust(current, { ...wanted, threshold }, now),
  );
  if (!args.json && after !== before)
    context.stderr(
      'changed on this machine alone, on your word: rotations that others sign for its old trust no longer apply here\n',
    );
  printTrust(after, now, args, context, { made: after !== before, dryRun: false, lines: trustDifference(before, after) });
  return 0;
}
