import { BundleError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import { formatReference, originPath, parseReference } from '../core/reference.ts';
import type { PublicKey } from '../sign/public-key.ts';

/** The registry inside, as pods and nodes name it. */
export type PolicyTarget = Readonly<{
  /** `node-1:5000` */
  host: string;
  /** '' or `airgap/` */
  prefix: string;
  /** It speaks plain HTTP. */
  plain: boolean;
}>;

/** An extra name at the target, as the manifest's `aliases` give it. */
export type PolicyAlias = Readonly<{ name: string; ref: string }>;

export type PolicyRequest = Readonly<{
  /** Who signs what comes through; any one of them is enough. */
  keys: readonly PublicKey[];
  targets: readonly PolicyTarget[];
  /** Registries whose names pods use, k3s' mirrors leading them to the target. */
  origins: readonly string[];
  aliases: readonly PolicyAlias[];
  /** Empty: everywhere. */
  namespaces: readonly string[];
}>;

/** What is printed: file names as the consumer wants them, and their texts. Depends on the request alone. */
export type PolicyFiles = readonly Readonly<{ name: string; text: string }>[];

/** One name for all that is made, so that a later policy replaces an earlier one. */
export const POLICY_NAME = 'only-from-bundle';

/** Each thing once and in one order, so that the same request gives the same bytes. */
export function normalizeRequest(request: PolicyRequest): PolicyRequest {
  const unique = <T>(values: readonly T[], keyOf: (value: T) => string): T[] =>
    [...new Map(values.map((value) => [keyOf(value), value])).entries()]
      .sort(([a], [b]) => byteOrder(a, b))
      .map(([, value]) => value);
  return {
    keys: unique(request.keys, (key) => key.keyid),
    targets: unique(request.targets, placeOf),
    origins: unique(request.origins, (origin) => origin),
    aliases: unique(request.aliases, (alias) => alias.name),
    namespaces: unique(request.namespaces, (namespace) => namespace),
  };
}

/** `node-1:5000` or `harbor.corp/airgap` */
export const placeOf = ({ host, prefix }: PolicyTarget): string => `${host}/${prefix}`.replace(/\/$/, '');

/** `node-1:5000/docker.io` */
export const placeOfOrigin = (target: PolicyTarget, origin: string): string => `${placeOf(target)}/${originPath(origin)}`;

/** The reference that our signature names: with its tag, without the digest. */
export function signedReference(ref: string): string {
  const { digest: _, ...named } = parseReference(ref);
  return formatReference(named);
}

/** @throws BundleError E_USAGE when there is no key */
export function requireKeys({ keys }: PolicyRequest, consumer: string): void {
  if (keys.length > 0) return;
  throw new BundleError('E_USAGE', `policy ${consumer}: no public key to check signatures with`, {
    hint: 'add --key release.pub',
  });
}

/** @throws BundleError E_USAGE when there is none, or one that no image can name: `harbor/x` is Docker Hub's user harbor */
export function requireTargets({ targets }: PolicyRequest, consumer: string): void {
  const plain = targets.find(({ host }) => !/[.:]/.test(host) && host !== 'localhost');
  if (plain !== undefined) {
    throw new BundleError(
      'E_USAGE',
      `policy ${consumer}: an image can't name the registry ${plain.host}, which has no dot and no port`,
      {
        hint: `write the port: https://${plain.host}:443`,
      },
    );
  }
  if (targets.length > 0) return;
  throw new BundleError('E_USAGE', `policy ${consumer}: the registry that pods name is missing`, {
    hint: 'add --endpoint https://node-1:5000',
  });
}
