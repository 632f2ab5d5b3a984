import { isAbsolute } from 'node:path';
import { BundleError } from '../core/errors.ts';
import { byteOrder } from '../core/json.ts';
import { parseOrigin } from '../core/reference.ts';
import { endpointFor, parseEndpoint } from './endpoint.ts';
import type { Mirror, Registries, RegistryAuth, RegistryConfig, RegistryTls } from './registries.ts';

export type MirrorWishes = Readonly<{
  /** Registry hosts of the bundle's references, as in `Reference.origin`. */
  origins: readonly string[];
  /** URLs by which the nodes dial the target, in the order in which they are tried. */
  endpoints: readonly string[];
  /** Paths on the node. Only https endpoints get it. */
  tls?: Readonly<{ caFile?: string; certFile?: string; keyFile?: string; insecureSkipVerify?: boolean }>;
  /** What the nodes log in with. Never the credentials that push. */
  nodeAuth?: Readonly<{ username: string; password: string }>;
  /** An entry for each endpoint's own name too, for pods that name the target directly (k3s#145 and its like). */
  directNames: boolean;
}>;

const usage = (message: string, hint?: string): BundleError => new BundleError('E_USAGE', message, { hint });

// YAML 1.1 readers stop at some of these or read them as line breaks; the others become Go escapes that are not TOML in containerd's config.
const UNSAFE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/;

function checkText(value: string, what: string): string {
  if (UNSAFE.test(value) || !value.isWellFormed()) {
    throw usage(`${what} has a control character that containerd's configuration can't carry`, 'choose another one');
  }
  return value;
}

function filePath(path: string, what: string): string {
  if (!isAbsolute(path)) throw usage(`${what} ${JSON.stringify(path)} is not an absolute path on the node`);
  if (/[\r\n\t]/.test(checkText(path, what))) throw usage(`${what} has a line break or tab in it`);
  return path;
}

/** @throws BundleError E_USAGE */
export function desiredTls(tls: NonNullable<MirrorWishes['tls']>): RegistryTls | undefined {
  if ((tls.certFile === undefined) !== (tls.keyFile === undefined)) {
    throw usage('a client certificate needs both its certificate file and its key file');
  }
  const wanted: RegistryTls = {
    ...(tls.caFile === undefined ? {} : { ca_file: filePath(tls.caFile, 'the CA file') }),
    ...(tls.certFile === undefined ? {} : { cert_file: filePath(tls.certFile, 'the certificate file') }),
    ...(tls.keyFile === undefined ? {} : { key_file: filePath(tls.keyFile, 'the key file') }),
    ...(tls.insecureSkipVerify ? { insecure_skip_verify: true } : {}),
  };
  return Object.keys(wanted).length === 0 ? undefined : wanted;
}

function desiredAuth(nodeAuth: NonNullable<MirrorWishes['nodeAuth']>): RegistryAuth {
  if (nodeAuth.username === '' || nodeAuth.username.includes(':')) {
    throw usage('the name that nodes log in with is empty or has a ":" in it, which HTTP basic authentication has no room for');
  }
  return {
    username: checkText(nodeAuth.username, 'the name that nodes log in with'),
    password: checkText(nodeAuth.password, 'the password that nodes log in with'),
  };
}

/**
 * The entries that a bundle needs in registries.yaml. No rewrites: they exist in k3s's containerd only and their order is not kept.
 * @throws BundleError E_USAGE, E_REFERENCE
 */
export function desiredMirrors(wishes: MirrorWishes): Registries {
  if (wishes.endpoints.length === 0) throw usage('no endpoint for the nodes is named', 'add --endpoint https://node-1:5000');
  const endpoints = wishes.endpoints.map(parseEndpoint);
  const tls = wishes.tls === undefined ? undefined : desiredTls(wishes.tls);
  const auth = wishes.nodeAuth === undefined ? undefined : desiredAuth(wishes.nodeAuth);
  const origins = [...new Set(wishes.origins.map(parseOrigin))].sort(byteOrder);
  const mirrors = new Map<string, Mirror>(
    origins.map((origin) => [origin, { endpoint: [...new Set(wishes.endpoints.map((url) => endpointFor(origin, url)))] }]),
  );
  const configs = new Map<string, RegistryConfig>();
  for (const { scheme, host, registry } of endpoints) {
    const own = `${scheme}://${host}`;
    // Where the target is an origin of the bundle too, its own images come first and direct names second.
    const before = mirrors.get(host)?.endpoint ?? [];
    if (wishes.directNames && !before.includes(own)) mirrors.set(host, { endpoint: [...before, own] });
    // A tls entry on http makes containerd try https first (containerd hosts.go, NewHTTPFallback).
    const config: RegistryConfig = {
      ...(auth === undefined ? {} : { auth }),
      ...(tls === undefined || scheme !== 'https' ? {} : { tls }),
    };
    if (Object.keys(config).length > 0) configs.set(registry, { ...configs.get(registry), ...config });
  }
  return { mirrors, configs };
}
