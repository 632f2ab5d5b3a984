import { createHash } from 'node:crypto';
import * as z from 'zod';
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

const tls = z.strictObject({
  ca_file: z.string().exactOptional(),
  cert_file: z.string().exactOptional(),
  key_file: z.string().exactOptional(),
  insecure_skip_verify: z.boolean().exactOptional(),
});
const mirror = z.strictObject({
  endpoint: z.array(z.string()),
  rewrite: z.record(z.string(), z.string()).exactOptional(),
});

/** The record as the state file has it. */
export const writtenSchema: z.ZodType<Written> = z.strictObject({
  mirrors: z.record(z.string(), mirror),
  configs: z.record(z.string(), z.strictObject({ auth: z.string().exactOptional(), tls: tls.exactOptional() })),
});

export const NOTHING_WRITTEN: Written = { mirrors: {}, configs: {} };

/** Tells a changed login from an unchanged one. */
export const authHash = (auth: RegistryAuth): string => `sha256:${createHash('sha256').update(canonical(auth)).digest('hex')}`;
