import { generate } from 'selfsigned';

export type KeyPair = Readonly<{ key: string; cert: string }>;

export type CertificateAuthority = Readonly<{
  /** PEM, what `--ca-file` takes. */
  cert: string;
  /** A server certificate for 127.0.0.1, ::1, localhost and `names`. */
  server(names?: readonly string[]): Promise<KeyPair>;
  /** A client certificate, for registries that ask for one. */
  client(commonName?: string): Promise<KeyPair>;
}>;

const common = { keyType: 'ec', curve: 'P-256', algorithm: 'sha256' } as const;
const named = (value: string) => [{ name: 'commonName', value }];

/** A certificate authority of our own that nobody else trusts. */
export async function createCertificateAuthority(name = 'bundle test CA'): Promise<CertificateAuthority> {
  const root = await generate(named(name), {
    ...common,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, digitalSignature: true, critical: true },
    ],
  });
  const ca = { key: root.private, cert: root.cert };
  const issue = async (cn: string, extensions: NonNullable<Parameters<typeof generate>[1]>['extensions']) => {
    const made = await generate(named(cn), { ...common, ca, ...(extensions ? { extensions } : {}) });
    return { key: made.private, cert: made.cert };
  };
  const leaf = [
    { name: 'basicConstraints', cA: false },
    { name: 'keyUsage', digitalSignature: true, keyEncipherment: true },
  ] as const;
  return {
    cert: root.cert,
    server: (names = []) =>
      issue('localhost', [
        ...leaf,
        { name: 'extKeyUsage', serverAuth: true },
        {
          name: 'subjectAltName',
          altNames: [
            ...['localhost', ...names].map((value) => ({ type: 2 as const, value })),
            { type: 7, ip: '127.0.0.1' },
            { type: 7, ip: '::1' },
          ],
        },
      ]),
    client: (commonName = 'bundle test client') => issue(commonName, [...leaf, { name: 'extKeyUsage', clientAuth: true }]),
  };
}
