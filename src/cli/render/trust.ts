import { type Digest, hexOf } from '../../core/digest.ts';
import { byteOrder } from '../../core/json.ts';
import { shortKeyid } from '../../sign/public-key.ts';
import type { Rotation } from '../../sign/rotation.ts';
import { type RotationStatus, rotationStatus } from '../../sign/rotation-check.ts';
import { describeTerms, trustDifference } from '../../sign/trust-change.ts';
import { type TrustDocument, trustedKeysOf, trustFingerprint } from '../../sign/trust-document.ts';
import { countingKeyids, keyLabel, whyNotCounted } from '../../sign/trust-key.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { plural } from '../ports.ts';
import { printJson } from './failure.ts';

/** In eights, to be read out. */
const spoken = (digest: Digest): string => hexOf(digest).replace(/.{8}(?=.)/g, '$& ');

/** Why a key counts for nobody at all now; a bound one counts for those that it is bound to. */
const state = (key: TrustDocument['keys'][number], now: number): string | undefined =>
  whyNotCounted(key, { name: key.bundles?.[0], now });

function trustTable(document: TrustDocument, now: number): string {
  const width = Math.max(...document.keys.map((key) => key.name.length));
  const lines = document.keys.map((key) => {
    const why = state(key, now);
    const counts =
      why === undefined ? ['counts', describeTerms(key)].filter((text) => text !== '').join(', ') : `does not count: ${why}`;
    return `  ${key.name.padEnd(width)}  ${shortKeyid(key.keyid)}  ${counts}\n`;
  });
  const all = document.keys.length;
  const counting = document.keys.filter((key) => state(key, now) === undefined).length;
  const of = counting === all ? plural(all, 'key') : `the ${plural(counting, 'key that counts', 'keys that count')}`;
  const most = `${document.threshold} of ${of} must sign${counting === all ? '' : ` (${all} are listed)`}`;
  const shown = `  fingerprint ${spoken(trustFingerprint(document))}\n`;
  return `version ${document.version}: ${most}\n${lines.join('')}${shortage(document, now)}${shown}`;
}

/** Keys bound to bundles may suffice for those alone. */
function shortage(document: TrustDocument, now: number): string {
  const count = countingKeyids(trustedKeysOf(document), { name: undefined, now }).size;
  if (count >= document.threshold) return '';
  return `  NOT ENOUGH: ${plural(count, 'key')} of ${document.threshold} for bundles that no key is bound to, and for rotations\n`;
}

const trustJson = (document: TrustDocument, now: number): Readonly<Record<string, unknown>> => ({
  version: document.version,
  threshold: document.threshold,
  fingerprint: trustFingerprint(document),
  keys: document.keys.map((key) => {
    const why = state(key, now);
    const { pem: _, ...told } = key;
    return { ...told, counts: why === undefined, ...(why === undefined ? {} : { why }) };
  }),
});

function rotationSigned({ old, new: next, refused }: RotationStatus, label: Label): string {
  const side = (whose: string, { signers, threshold }: RotationStatus['old']): string => {
    const missing = threshold - signers.length;
    const more = missing > 0 ? `: ${plural(missing, 'more is', 'more are')} needed` : '';
    return `  ${whose}: ${threshold} needed, signed: ${signers.map(label).sort(byteOrder).join(', ') || 'nobody'}${more}\n`;
  };
  const others = refused.map((item) => `  not counted: ${item.reason}\n`).join('');
  return side('the keys trusted before it', old) + side('the keys it leads to', next) + others;
}

type Label = (keyid: string) => string;

/** By the names that both sides have. */
function labelsOf({ from, to }: Rotation): Label {
  const known = new Map([...from.keys, ...to.keys].map((key) => [key.keyid, key]));
  return (keyid) => keyLabel(known.get(keyid) ?? { keyid });
}

/** What a command did to the trust. `made` false: it was so already. `lines`: what differs. */
export type ChangeMade = Readonly<{ made: boolean; dryRun: boolean; lines: readonly string[] }>;

function outcome(version: number, { made, dryRun }: ChangeMade): string {
  if (!made) return `nothing to do: version ${version}, which is in force, says all that\n`;
  return dryRun ? `version ${version} would be in force; nothing was written\n` : `version ${version} is in force now\n`;
}

/** `change` undefined: nothing was to be changed. */
export function printTrust(document: TrustDocument, now: number, args: Args, context: Context, change?: ChangeMade): void {
  if (args.json) {
    const told = change === undefined ? {} : { changes: change.lines, dryRun: change.dryRun };
    printJson(context, { ...trustJson(document, now), ...told });
    return;
  }
  if (change !== undefined) context.stdout(outcome(document.version, change));
  for (const line of change?.lines ?? []) context.stdout(`${line}\n`);
  context.stdout(trustTable(document, now));
}

/** keyids that signed a rotation just now, and those that had before. `dryRun`: nothing was written. */
export type SigningMade = Readonly<{ added: readonly string[]; present: readonly string[]; dryRun: boolean }>;

/**
 * What a rotation file changes, and who has signed it. `path` "-": the file itself goes to standard output, so that this goes to standard error.
 * @throws BundleError E_SIGNATURE for a broken signature
 */
export async function printRotation(
  rotation: Rotation,
  now: number,
  args: Args,
  context: Context,
  { path, made }: Readonly<{ path: string; made?: SigningMade }>,
): Promise<void> {
  const { from, to } = rotation;
  const status = await rotationStatus(rotation, now);
  const changes = trustDifference(from, to);
  const complete = [status.old, status.new].every(({ signers, threshold }) => signers.length >= threshold);
  if (args.json) {
    const start = { version: from.version, fingerprint: trustFingerprint(from) };
    printJson(context, { path, from: start, to: trustJson(to, now), changes, signed: status, complete, ...made });
    return;
  }
  const label = labelsOf(rotation);
  const say = path === '-' ? context.stderr : context.stdout;
  say(`${path === '-' ? 'rotation' : path}: trust from version ${from.version} to ${to.version}\n`);
  for (const line of changes) say(`  ${line}\n`);
  for (const keyid of made?.added ?? []) say(`  signed by ${label(keyid)}\n`);
  for (const keyid of made?.present ?? []) say(`  ${label(keyid)} had signed it already\n`);
  say(rotationSigned(status, label));
  if (made?.dryRun) say('  nothing was written (--dry-run)\n');
  say(trustTable(to, now));
}
