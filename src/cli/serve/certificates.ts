import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { BundleError, isBundleError } from '../../core/errors.ts';
import type { OwnCertificate } from '../../serve/own-ca.ts';
import type { ServerCertificate } from '../../serve/server.ts';
import { serverNames } from '../../serve/server-names.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';

export type Certificates = Readonly<{
  current(): ServerCertificate;
  /** Seconds since 1970. */
  expires(): number;
  /** With --tls self. */
  own: OwnCertificate | undefined;
  /** A certificate to change to; undefined when nothing new is there, or nothing good. */
  refresh(): Promise<ServerCertificate | undefined>;
}>;

/** Finds what is there now, or makes it. */
export type CertificateSource = () => Promise<Found>;

type Found = Readonly<{ certificate: ServerCertificate; own?: OwnCertificate }>;

/** A year to bring a new one to all nodes. */
const CA_WARNING_MS = 365 * 86_400_000;

/** @param now milliseconds since 1970 @throws BundleError E_USAGE, E_TLS, E_DISK */
export async function openCertificates(
  find: CertificateSource,
  now: number,
  warn: (text: string) => void,
): Promise<Certificates> {
  let found = await find();
  const { own } = found;
  if (own !== undefined && own.caExpires - now < CA_WARNING_MS)
    warn(`the CA ${own.caFile} ends on ${new Date(own.caExpires).toISOString()}: plan to bring a new one to the nodes`);
  let refused = '';
  let complaint = '';
  const secondsOf = ({ cert }: ServerCertificate): number => new X509Certificate(cert).validToDate.getTime() / 1000;
  return {
    current: () => found.certificate,
    expires: () => secondsOf(found.certificate),
    own,
    async refresh() {
      try {
        const next = await find();
        const text = next.certificate.cert + next.certificate.key;
        if (text === found.certificate.cert + found.certificate.key || text === refused) return undefined;
        // A file that is just being replaced, or a pair of which only one half is new: the next look finds both.
        refused = text;
        createSecureContext(next.certificate);
        [found, refused, complaint] = [next, '', ''];
        return next.certificate;
      } catch (error) {
        const text = isBundleError(error) ? error.message : `the new certificate is not usable: ${(error as Error).message}`;
        if (text !== complaint) warn(`${text}; the certificate from before stays`);
        complaint = text;
        return undefined;
      }
    },
  };
}

/**
 * Where what TLS is served with comes from; undefined without TLS. Nothing is read or written yet.
 * @param ownDirectory where --tls self keeps its CA
 * @throws BundleError E_USAGE
 */
export function certificateSource(args: Args, context: Context, ownDirectory: string): CertificateSource | undefined {
  const [cert, key] = [args['tls-cert'], args['tls-key']];
  if (args.tls !== undefined) {
    if (cert !== undefined || key !== undefined)
      throw new BundleError('E_USAGE', '--tls self and --tls-cert contradict each other');
    const asked = args['tls-name'] ?? [];
    serverNames(asked);
    return async () => {
      const { ownCertificate } = await import('../../serve/own-ca.ts');
      const own = await ownCertificate(context.fs, ownDirectory, serverNames(asked), context.now());
      return { certificate: own, own };
    };
  }
  const needing = (['tls-name', 'tls-dir'] as const).find((name) => args[name] !== undefined);
  if (needing !== undefined) throw new BundleError('E_USAGE', `--${needing} says nothing without --tls self`);
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new BundleError('E_USAGE', 'TLS needs both --tls-cert and --tls-key');
  return async () => ({ certificate: { cert: await readPem(context, cert), key: await readPem(context, key) } });
}

async function readPem({ fs }: Context, file: string): Promise<string> {
  try {
    return (await fs.readUserFile(file, 1024 * 1024)).toString('utf8');
  } catch (error) {
    throw new BundleError('E_USAGE', `${file} can't be read: ${(error as Error).message}`, { cause: error });
  }
}
