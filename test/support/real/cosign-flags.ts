/** Which flags make the real cosign sign and verify in each of its formats, with and without each service. Pure. */

/** What signing and verifying need to know of a Sigstore; paths are of files. */
export type Services = Readonly<{
  issuer: string;
  fulcioUrl: string;
  timestampUrl: string;
  /** Root and signing configuration: with the log, without it, and a configuration without any service. */
  root: string;
  config: string;
  rootWithoutLog: string;
  configWithoutLog: string;
  configWithoutServices: string;
  fulcioPem: string;
  timestampPem: string;
}>;

export type Program = 'cosign' | 'cosign-2';

export type SignOptions = Readonly<{
  /** A key file instead of a certificate from Fulcio. */
  key?: string;
  /** `legacy`: a `.sig` or `.att` tag; all that cosign 2 writes. Default: `bundle`, but `legacy` for `cosign-2`. */
  format?: 'bundle' | 'legacy';
  /** Default: log and timestamp with a bundle, timestamp only with `legacy`: there is no way from there into Rekor v2. */
  log?: boolean;
  timestamp?: boolean;
  program?: Program;
}>;

/** What a signature has, once every default is applied. Throws for what cosign can't make. */
export type Way = Readonly<{ key: string | undefined; legacy: boolean; log: boolean; timestamp: boolean; program: Program }>;

export function wayOf(options: SignOptions): Way {
  const { key, program = 'cosign' } = options;
  const legacy = program === 'cosign-2' || options.format === 'legacy';
  const log = options.log ?? (!legacy && options.timestamp !== false);
  const timestamp = options.timestamp ?? true;
  if (legacy && log) throw new Error('a legacy signature has no way into Rekor v2');
  if (log && !timestamp) throw new Error('cosign asks Rekor v2 for nothing without a timestamp server');
  if (key === undefined && !legacy && !timestamp) throw new Error('a keyless bundle needs a timestamp server');
  return { key, legacy, log, timestamp, program };
}

function bundleFlags(services: Services, { log, timestamp }: Way): string[] {
  if (log) return ['--signing-config', services.config, '--trusted-root', services.root];
  if (timestamp) return ['--signing-config', services.configWithoutLog, '--trusted-root', services.rootWithoutLog];
  return ['--signing-config', services.configWithoutServices, '--trusted-root', services.rootWithoutLog];
}

function legacyFlags(services: Services, { key, timestamp, program }: Way): string[] {
  return [
    ...(program === 'cosign' ? ['--new-bundle-format=false', '--use-signing-config=false'] : []),
    '--tlog-upload=false',
    ...(timestamp ? ['--timestamp-server-url', services.timestampUrl] : []),
    // Certificates of this Fulcio have no SCT: no log of certificates.
    ...(key === undefined
      ? ['--fulcio-url', services.fulcioUrl, '--oidc-issuer', services.issuer, '--insecure-skip-verify']
      : []),
  ];
}

/** Flags of `sign` and `attest`. `token` is of the issuer; not needed with a key. */
export const signFlags = (services: Services, way: Way, token: string): string[] => [
  '--yes',
  ...(way.legacy ? legacyFlags(services, way) : bundleFlags(services, way)),
  ...(way.key === undefined ? ['--identity-token', token] : ['--key', way.key]),
];

export type VerifyOptions = SignOptions &
  Readonly<{
    /** Default: the identity and issuer of the stack's tokens. */
    identity?: string;
    issuer?: string;
    /** Another trusted root than the stack's. */
    root?: string;
  }>;

/** Flags of `verify` and `verify-attestation` for what {@link signFlags} made. */
export function verifyFlags(services: Services, options: VerifyOptions & { identity: string }): string[] {
  const { key, legacy, log, timestamp, program } = wayOf(options);
  const who = ['--certificate-identity', options.identity, '--certificate-oidc-issuer', options.issuer ?? services.issuer];
  const root = options.root ?? (log ? services.root : services.rootWithoutLog);
  const roots = ['--ca-roots', services.fulcioPem, '--timestamp-certificate-chain', services.timestampPem];
  const ofVersion2 = key === undefined ? roots : timestamp ? roots.slice(2) : [];
  // A key without anything else needs no root; given one, cosign asks for what the root has.
  const ofVersion3 = key !== undefined && !timestamp ? [] : ['--trusted-root', root];
  return [
    ...(key === undefined ? [...who, '--insecure-ignore-sct'] : ['--key', key]),
    ...(program === 'cosign-2' ? ofVersion2 : ofVersion3),
    ...(log ? [] : ['--insecure-ignore-tlog']),
    ...(legacy && timestamp && program === 'cosign' ? ['--use-signed-timestamps'] : []),
  ];
}
