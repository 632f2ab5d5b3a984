import { type Digest, hexOf } from '../../core/digest.ts';
import { shortKeyid } from '../../sign/public-key.ts';
import type { Rotation } from '../../sign/rotation.ts';
import { type RotationStatus, rotationStatus } from '../../sign/rotation-check.ts';
import { describeTerms, trustDifference } from '../../sign/trust-change.ts';
import { type TrustDocument, trustedKeysOf, trustFingerprint } from '../../sign/trust-document.ts';
import { countingKeyids, whyNotCounted } from '../../sign/trust-key.ts';
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
  const most = `${document.threshold} of ${plural(document.keys.length, 'key')} must sign`;
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

function rotationSigned({ old, new: next, refused }: RotationStatus): string {
  const side = (whose: string, { signers, threshold }: RotationStatus['old']): string =>
    `  ${signers.length} of ${threshold} signatures by ${whose}${signers.length >= threshold ? '' : ': more are needed'}\n`;
  const others = refused.map((item) => `  not counted: ${item.reason}\n`).join('');
  return side('the keys trusted before it', old) + side('the keys it leads to', next) + others;
}

/** `changes` undefined: nothing was to be changed. */
export function printTrust(
  document: TrustDocument,
  now: number,
  args: Args,
  context: Context,
  changes?: readonly string[],
): void {
  if (args.json) {
    printJson(context, { ...trustJson(document, now), ...(changes === undefined ? {} : { changes }) });
    return;
  }
  for (const line of changes ?? []) context.stdout(`${line}\n`);
  context.stdout(trustTable(document, now));
}

/** What a rotation file changes, and who has signed it. @throws BundleError E_SIGNATURE for a broken signature */
export async function printRotation(
  rotation: Rotation,
  now: number,
  args: Args,
  context: Context,
  { path }: Readonly<{ path: string }>,
): Promise<void> {
  const { from, to } = rotation;
  const status = await rotationStatus(rotation, now);
  const changes = trustDifference(from, to);
  const complete = [status.old, status.new].every(({ signers, threshold }) => signers.length >= threshold);
  if (args.json) {
    const start = { version: from.version, fingerprint: trustFingerprint(from) };
    printJson(context, { path, from: start, to: trustJson(to, now), changes, signed: status, complete });
    return;
  }
  context.stdout(`${path}: trust from version ${from.version} to ${to.version}\n`);
  for (const line of changes) context.stdout(`  ${line}\n`);
  context.stdout(rotationSigned(status));
  context.stdout(trustTable(to, now));
}
