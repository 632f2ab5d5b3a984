import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { BundleError, diskError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { writeFileDurable } from '../files/durable-write.ts';
import type { FileSystem } from '../files/file-system.ts';
import type { Pair } from './make-certificates.ts';
import type { ServerCertificate } from './server.ts';

const DAY_MS = 86_400_000;
/** For nodes whose clocks are behind, by their time zone for example. */
const CLOCK_SKEW_MS = DAY_MS;
/** Ten years: as long as anybody keeps a node. */
const CA_DAYS = 3650;
/** Below the 398 days that clients of Apple's and the browsers take, the time before now counted. */
const SERVER_DAYS = 396;
const RENEW_DAYS = 30;
/** A machine without a clock of its own starts in 1970, and what it made then would be out of date for ever. */
const EARLIEST = Date.UTC(2026, 0, 1);
const PRIVATE = 0o600;

export type OwnCertificate = ServerCertificate &
  Readonly<{
    /** Path of the CA's certificate. */
    caFile: string;
    /** SHA-256 of that file in hex, as sha256sum prints it. */
    caSha256: string;
    /** Milliseconds since 1970. */
    expires: number;
    caExpires: number;
    /** A new server certificate was made just now. */
    renewed: boolean;
  }>;

/**
 * A server certificate for `names` (DNS names and addresses) under a CA of our own, both in `directory`: made when absent, the server's made anew
 * under the same CA when fewer than 30 days are left or a name is missing. Private keys are 0600, also when somebody loosened them.
 * @param now milliseconds since 1970
 * @throws BundleError E_TLS when the CA is out of date or unusable, E_DISK
 */
export async function ownCertificate(
  fs: FileSystem,
  directory: string,
  names: readonly string[],
  now: number,
): Promise<OwnCertificate> {
  const path = (name: string): string => `${directory}/${name}`;
  if (now < EARLIEST) throw unusable(`the clock says ${new Date(now).toISOString()}`, 'set the clock: certificates carry dates');
  const ca = await caIn(fs, path, now);
  const caExpires = expiryOf(ca.cert);
  if (caExpires <= now)
    throw unusable(
      `the CA in ${path('ca.crt')} has expired`,
      `move ${directory} away for a new one, and bring its ca.crt to the nodes`,
    );
  const found = await readPair(fs, path('server'));
  const good = found !== undefined && isGood(found, ca.cert, names, now);
  const server = good ? found : await issue(ca, names, now, caExpires);
  // The key first: a kill in between leaves a pair that does not fit, and that is made anew.
  if (!good) await writePair(fs, path('server'), server);
  return {
    ...server,
    caFile: path('ca.crt'),
    caSha256: createHash('sha256').update(ca.cert).digest('hex'),
    expires: expiryOf(server.cert),
    caExpires,
    renewed: !good,
  };
}

const unusable = (message: string, hint: string): BundleError => new BundleError('E_TLS', message, { origin: 'host', hint });
const expiryOf = (pem: string): number => new X509Certificate(pem).validToDate.getTime();
/** Loaded when one is made, which is once a year: the library takes a fifth of a second. */
const making = (): Promise<typeof import('./make-certificates.ts')> => import('./make-certificates.ts');

async function caIn(fs: FileSystem, path: (name: string) => string, now: number): Promise<Pair> {
  const [cert, key] = [await read(fs, path('ca.crt')), await readKey(fs, path('ca.key'))];
  if (cert !== undefined && key === undefined)
    throw unusable(
      `${path('ca.crt')} is there without ${path('ca.key')}`,
      'put the key back, or name a certificate with --tls-cert',
    );
  if (cert !== undefined && key !== undefined) {
    if (!fits({ cert, key })) throw unusable(`${path('ca.crt')} and ${path('ca.key')} do not belong together`, 'restore both');
    return { cert, key };
  }
  // A key without its certificate: a kill between the two. The same key then makes the same CA to whoever knows it already.
  const { makeCa } = await making();
  const made = await makeCa(key, { from: now - CLOCK_SKEW_MS, to: now + CA_DAYS * DAY_MS });
  await writePair(fs, path('ca'), made);
  return made;
}

async function writePair(fs: FileSystem, base: string, pair: Pair): Promise<void> {
  await writeFileDurable(fs, `${base}.key`, Buffer.from(pair.key), PRIVATE);
  await writeFileDurable(fs, `${base}.crt`, Buffer.from(pair.cert));
}

async function readPair(fs: FileSystem, base: string): Promise<Pair | undefined> {
  const [cert, key] = [await read(fs, `${base}.crt`), await readKey(fs, `${base}.key`)];
  return cert === undefined || key === undefined ? undefined : { cert, key };
}

async function read(fs: FileSystem, file: string): Promise<string | undefined> {
  try {
    if ((await fs.stat(file)) === undefined) return undefined;
    return (await fs.readFile(file, LIMITS.keyFileBytes)).toString('utf8');
  } catch (error) {
    throw diskError(error, `reading ${file}`);
  }
}

async function readKey(fs: FileSystem, file: string): Promise<string | undefined> {
  const key = await read(fs, file);
  if (key !== undefined && (((await fs.stat(file))?.mode ?? PRIVATE) & 0o077) !== 0)
    await writeFileDurable(fs, file, Buffer.from(key), PRIVATE);
  return key;
}

function fits({ cert, key }: Pair): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch {
    return false;
  }
}

function isGood(pair: Pair, ca: string, names: readonly string[], now: number): boolean {
  if (!fits(pair)) return false;
  const [cert, issuer] = [new X509Certificate(pair.cert), new X509Certificate(ca)];
  return (
    cert.verify(issuer.publicKey) &&
    cert.validFromDate.getTime() <= now &&
    cert.validToDate.getTime() - now >= RENEW_DAYS * DAY_MS &&
    names.every((name) => (isIP(name) ? cert.checkIP(name) : cert.checkHost(name, { subject: 'never' })) !== undefined)
  );
}

async function issue(ca: Pair, names: readonly string[], now: number, caExpires: number): Promise<Pair> {
  const { makeServerCertificate } = await making();
  return makeServerCertificate(ca, names, { from: now - CLOCK_SKEW_MS, to: Math.min(now + SERVER_DAYS * DAY_MS, caExpires) });
}
