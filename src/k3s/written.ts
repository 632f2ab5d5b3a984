import { createHash } from 'node:crypto';
import { BundleError } from '../core/errors.ts';
import { isObject } from '../core/json.ts';
import { canonical, type Mirror, type RegistryAuth, type RegistryTls } from './registries.ts';

/**
 * What `bundle` put into registries.yaml for one bundle, kept in the state as JSON:
 *
 *     {"mirrors": {"docker.io": {"endpoint": ["https://node-1:5000/v2/docker.io"]}},
 *      "configs": {"node-1:5000": {"tls": {"ca_file": "/etc/bundle/ca.crt"}, "auth": "sha256:<hex>"}}}
 *
 * Only entries that we wrote: one that was there with the same value before us is somebody else's. `auth` is a hash, so that the state
 * holds no password.
 */
export type Written = Readonly<{
  mirrors: Readonly<Record<string, Mirror>>;
  configs: Readonly<Record<string, WrittenConfig>>;
}>;

export type WrittenConfig = Readonly<{ auth?: string; tls?: RegistryTls }>;

export const NOTHING_WRITTEN: Written = { mirrors: {}, configs: {} };

/** Tells a changed login from an unchanged one. */
export const authHash = (auth: RegistryAuth): string => `sha256:${createHash('sha256').update(canonical(auth)).digest('hex')}`;

const isMirror = (value: unknown): boolean =>
  isObject(value) && Array.isArray(value.endpoint) && value.endpoint.every((url) => typeof url === 'string');
const isConfig = (value: unknown): boolean =>
  isObject(value) &&
  (value.auth === undefined || typeof value.auth === 'string') &&
  (value.tls === undefined || isObject(value.tls));

/** Checks a record that comes from the state file. @throws BundleError E_MIRRORS */
export function parseWritten(value: unknown, where: string): Written {
  const good =
    isObject(value) &&
    isObject(value.mirrors) &&
    isObject(value.configs) &&
    Object.values(value.mirrors).every(isMirror) &&
    Object.values(value.configs).every(isConfig);
  if (!good) throw new BundleError('E_MIRRORS', `${where} is not a record of written mirrors`, { origin: 'host' });
  return value as Written;
}
