/**
 * A whole keyless Sigstore on 127.0.0.1 with the real cosign as its user: an OIDC issuer, Fulcio, Rekor v2, a timestamp server, a
 * trusted root and signing configurations. No certificate transparency log.
 * Needs `scripts/interop/install.sh cosign cosign-2 fulcio rekor-server timestamp-server`.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Ending, tempDir } from '../temp-dir.ts';
import { tool } from '../tools.ts';
import {
  type Program,
  type Services,
  type SignOptions,
  signFlags,
  type VerifyOptions,
  verifyFlags,
  wayOf,
} from './cosign-flags.ts';
import { DEFAULT_EMAIL, type OidcIssuer, startOidcIssuer, type TokenClaims } from './oidc-issuer.ts';
import { type Finished, must, run } from './programs.ts';
import { createScope } from './scope.ts';
import { type SigstoreServer, startFulcio, startRekor, startTimestampServer } from './sigstore-servers.ts';

export type SigstoreOptions = Readonly<{
  /** That of another stack: a machine runs only one. */
  timestamps?: SigstoreServer;
  /** Start of the validity of everything in the trusted root, RFC 3339. Default: an hour ago. */
  since?: string;
}>;

export type Signing = SignOptions & Readonly<{ claims?: TokenClaims; token?: string; args?: readonly string[] }>;
export type Attesting = Signing & Readonly<{ type: string; predicate: string }>;
export type Verifying = VerifyOptions & Readonly<{ args?: readonly string[] }>;
export type VerifyingAttestation = Verifying & Readonly<{ type: string }>;

export type Sigstore = Readonly<{
  directory: string;
  /** `iss` of people's tokens, and what a policy names; of programs' tokens (`workflow`), the other. */
  issuer: string;
  workflowsIssuer: string;
  /** Whom its tokens name by default. */
  identity: string;
  services: Services;
  fulcio: SigstoreServer;
  rekor: SigstoreServer;
  timestamps: SigstoreServer;
  token(claims?: TokenClaims): string;
  /**
   * Makes `<name>.key` (password {@link KEY_PASSWORD}) and `<name>.pub`: P-256, or of the private key given in PEM (PKCS#8).
   * @returns their paths
   */
  keyPair(name: string, privateKey?: string): Promise<Readonly<{ key: string; pub: string }>>;
  /** Signs `host/repository@sha256:…`. Throws with cosign's words when it does not. */
  sign(ref: string, options?: Signing): Promise<void>;
  /** Signs a statement about `ref` with the predicate in a file; `type`: `spdxjson`, `custom`, a URL, …. */
  attest(ref: string, options: Attesting): Promise<void>;
  /** cosign's own verdict: `code` 0 is a yes. */
  verify(ref: string, options?: Verifying): Promise<Finished>;
  verifyAttestation(ref: string, options: VerifyingAttestation): Promise<Finished>;
  /** Runs cosign in a home of its own. */
  cosign(args: readonly string[], program?: Program): Promise<Finished>;
  /** Ends every service: from now on there is no network but the registries'. Other stacks' timestamp server stays. */
  stop(): Promise<void>;
}>;

export const KEY_PASSWORD = 'interop only';

type Made = Readonly<{ directory: string; env: Readonly<Record<string, string>>; since: string }>;
type Running = Readonly<{ issuer: OidcIssuer; fulcio: SigstoreServer; rekor: SigstoreServer; timestamps: SigstoreServer }>;

/** What clients are given: made by cosign itself, so that they are as its users have them. */
async function makeServices({ directory, env, since }: Made, running: Running): Promise<Services> {
  const { issuer, fulcio, rekor, timestamps } = running;
  const at = (name: string): string => join(directory, name);
  const timestampUrl = `${timestamps.url}/api/v1/timestamp`;
  const cosign = (...args: string[]): Promise<Buffer> => must(tool('cosign'), args, { env });
  const trusted = [
    ...['--fulcio', `url=${fulcio.url},certificate-chain=${fulcio.pemFile},start-time=${since}`],
    ...['--tsa', `url=${timestampUrl},certificate-chain=${timestamps.pemFile},start-time=${since}`],
  ];
  const log = ['--rekor', `url=${rekor.url},public-key=${rekor.pemFile},start-time=${since}`];
  const offer = `start-time=${since},operator=local`;
  const offered = [
    ...['--fulcio', `url=${fulcio.url},api-version=1,${offer}`, '--oidc-provider', `url=${issuer.url},api-version=1,${offer}`],
    ...['--tsa', `url=${timestampUrl},api-version=1,${offer}`, '--tsa-config', 'ANY'],
  ];
  const offeredLog = ['--rekor', `url=${rekor.url},api-version=2,${offer}`, '--rekor-config', 'ANY'];
  const without = { mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json', rekorTlogConfig: {}, tsaConfig: {} };
  await Promise.all([
    cosign('trusted-root', 'create', ...trusted, ...log, '--out', at('trusted_root.json')),
    cosign('trusted-root', 'create', ...trusted, '--out', at('trusted_root-without-log.json')),
    cosign('signing-config', 'create', ...offered, ...offeredLog, '--out', at('signing_config.json')),
    cosign('signing-config', 'create', ...offered, '--out', at('signing_config-without-log.json')),
    writeFile(at('signing_config-without-services.json'), JSON.stringify(without)),
  ]);
  return {
    issuer: issuer.url,
    fulcioUrl: fulcio.url,
    timestampUrl,
    root: at('trusted_root.json'),
    config: at('signing_config.json'),
    rootWithoutLog: at('trusted_root-without-log.json'),
    configWithoutLog: at('signing_config-without-log.json'),
    configWithoutServices: at('signing_config-without-services.json'),
    fulcioPem: fulcio.pemFile,
    timestampPem: timestamps.pemFile,
  };
}

const anHourAgo = (): string => `${new Date(Date.now() - 3_600_000).toISOString().slice(0, 19)}Z`;

export async function startSigstore(t: Ending, options: SigstoreOptions = {}): Promise<Sigstore> {
  const scope = createScope(t);
  const directory = await tempDir(scope, 'bundle-sigstore-');
  const home = join(directory, 'home');
  await mkdir(home);
  const env = {
    ...{ HOME: home, TMPDIR: home, DOCKER_CONFIG: home, COSIGN_PASSWORD: KEY_PASSWORD },
    // Without a root, cosign asks the public Sigstore for one, and goes on when nobody answers.
    ...{ HTTPS_PROXY: 'http://127.0.0.1:9', HTTP_PROXY: 'http://127.0.0.1:9', NO_PROXY: '127.0.0.1' },
  };
  const place = { directory, env };
  const issuer = await startOidcIssuer(scope);
  const [fulcio, rekor, timestamps] = await Promise.all([
    startFulcio(scope, place, issuer),
    startRekor(scope, place),
    options.timestamps ?? startTimestampServer(scope, place),
  ]);
  const services = await makeServices(
    { directory, env, since: options.since ?? anHourAgo() },
    { issuer, fulcio, rekor, timestamps },
  );

  const cosign = (args: readonly string[], program: Program = 'cosign'): Promise<Finished> => run(tool(program), args, { env });
  const signing = async (command: readonly string[], ref: string, given: Signing): Promise<void> => {
    const way = wayOf(given);
    const flags = signFlags(services, way, given.token ?? issuer.token(given.claims));
    await must(tool(way.program), [...command, ...flags, ...(given.args ?? []), ref], { env });
  };
  const verifying = (command: readonly string[], ref: string, given: Verifying): Promise<Finished> => {
    const flags = verifyFlags(services, { ...given, identity: given.identity ?? DEFAULT_EMAIL });
    return cosign([...command, ...flags, ...(given.args ?? []), ref], given.program);
  };
  return {
    directory,
    issuer: issuer.url,
    workflowsIssuer: issuer.workflowsUrl,
    identity: DEFAULT_EMAIL,
    services,
    fulcio,
    rekor,
    timestamps,
    token: issuer.token,
    keyPair: async (name, privateKey) => {
      const prefix = join(directory, name);
      if (privateKey !== undefined) await writeFile(`${prefix}.pem`, privateKey);
      const command = privateKey === undefined ? ['generate-key-pair'] : ['import-key-pair', '--key', `${prefix}.pem`];
      await must(tool('cosign'), [...command, '--output-key-prefix', prefix], { env });
      return { key: `${prefix}.key`, pub: `${prefix}.pub` };
    },
    sign: (ref, given = {}) => signing(['sign'], ref, given),
    attest: (ref, given) => signing(['attest', '--type', given.type, '--predicate', given.predicate], ref, given),
    verify: (ref, given = {}) => verifying(['verify'], ref, given),
    verifyAttestation: (ref, given) => verifying(['verify-attestation', '--type', given.type], ref, given),
    cosign,
    stop: async () => {
      const ours = [issuer, fulcio, rekor, ...(options.timestamps === undefined ? [timestamps] : [])];
      await Promise.all(ours.map((each) => each.stop()));
    },
  };
}
