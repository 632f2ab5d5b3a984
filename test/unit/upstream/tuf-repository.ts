import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { Json } from './fake-sigstore.ts';

/** The canonical JSON that TUF signs, as far as our metadata needs it: sorted keys, no white space. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(',')}}`;
}

/** A TUF repository on loopback that serves one `trusted_root.json`, with one key for every role. */
export async function tufRepository(t: TestContext, target: Buffer) {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  const keyid = 'k'.repeat(64);
  const files = new Map<string, Buffer>();
  const signed = (type: string, version: number, rest: Json, days = 30): Buffer => {
    const expires = new Date(Date.now() + days * 86_400_000).toISOString().replace(/\.\d+Z$/, 'Z');
    const body = { _type: type, spec_version: '1.0.31', version, expires, ...rest };
    return Buffer.from(
      JSON.stringify({
        signed: body,
        signatures: [{ keyid, sig: sign(null, Buffer.from(canonical(body)), privateKey).toString('hex') }],
      }),
    );
  };
  const role = { keyids: [keyid], threshold: 1 };
  const root = signed('root', 1, {
    consistent_snapshot: false,
    keys: { [keyid]: { keytype: 'ed25519', scheme: 'ed25519', keyval: { public: spki.subarray(-32).toString('hex') } } },
    roles: { root: role, timestamp: role, snapshot: role, targets: role },
  });
  const publish = (bytes: Buffer, version: number, days = 30): void => {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    files.set('/targets/trusted_root.json', bytes);
    files.set(
      '/targets.json',
      signed('targets', version, { targets: { 'trusted_root.json': { length: bytes.length, hashes: { sha256 } } } }),
    );
    files.set('/snapshot.json', signed('snapshot', version, { meta: { 'targets.json': { version } } }));
    files.set('/timestamp.json', signed('timestamp', version, { meta: { 'snapshot.json': { version } } }, days));
  };
  publish(target, 1);
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? '');
    const bytes = files.get(request.url ?? '');
    response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  t.after(close);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, root, files, publish, requests, close };
}
