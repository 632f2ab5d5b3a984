/** Fulcio, Rekor v2 and a timestamp server on 127.0.0.1, as programs of their own. */

import { generateKeyPairSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ending } from '../temp-dir.ts';
import { tool } from '../tools.ts';
import type { OidcIssuer } from './oidc-issuer.ts';
import { freePort, type Server, startServer } from './programs.ts';

export type SigstoreServer = Readonly<{
  /** `http://127.0.0.1:4242` */
  url: string;
  /** What clients trust it by: a chain of certificates or a public key, PEM. */
  pemFile: string;
  output(): string;
  /** As if its machine went away; returns when the process is gone. */
  stop(): Promise<void>;
}>;

const READY_WITHIN_MS = 20_000;

type Place = Readonly<{ directory: string; env: Readonly<Record<string, string>> }>;

/** Ends with this process, however that ends: a timestamp server that is left behind would keep all others from starting. */
const start = (t: Ending, { directory, env }: Place, port: number, program: string, args: readonly string[]): Promise<Server> =>
  startServer(t, port, 'setpriv', ['--pdeathsig', 'KILL', tool(program), ...args], { cwd: directory, env });

const promised = new Set<number>();

/** A free port that was not promised to another server that is only about to listen. */
async function ownPort(): Promise<number> {
  const port = await freePort();
  if (promised.has(port)) return ownPort();
  promised.add(port);
  return port;
}

async function answersOk(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { signal: AbortSignal.timeout(2000) })).ok;
  } catch {
    return false;
  }
}

/** They listen before they serve, and tell nobody when they do. */
async function waitUntilReady(server: Server, url: string): Promise<void> {
  for (const end = Date.now() + READY_WITHIN_MS; Date.now() < end; await sleep(20)) if (await answersOk(url)) return;
  throw new Error(`${url} does not answer 200:\n${server.output().slice(-2000)}`);
}

async function fetchPem(url: string, file: string): Promise<string> {
  await writeFile(file, await (await fetch(url, { signal: AbortSignal.timeout(5000) })).text());
  return file;
}

const asServer = (server: Server, pemFile: string): SigstoreServer => ({
  url: `http://127.0.0.1:${server.port}`,
  pemFile,
  output: server.output,
  // SIGTERM takes them seconds, and none holds anything that a kill could lose: keys in memory, a log of synced files.
  stop: () => server.stop('SIGKILL'),
});

/** A CA with a new key: certificates of ten minutes for whom `issuer` vouches for. No log of certificates, so no SCT in them. */
export async function startFulcio(t: Ending, place: Place, issuer: OidcIssuer): Promise<SigstoreServer> {
  const { directory } = place;
  const config = join(directory, 'fulcio.yaml');
  const known = {
    [issuer.url]: { 'issuer-url': issuer.url, 'client-id': 'sigstore', type: 'email' },
    [issuer.workflowsUrl]: {
      ...{ 'issuer-url': issuer.workflowsUrl, 'client-id': 'sigstore', type: 'uri' },
      'subject-domain': issuer.url,
    },
  };
  // What parses as JSON is read by other field names, silently: the comment makes it YAML.
  await writeFile(config, `# YAML\n${JSON.stringify({ 'oidc-issuers': known })}\n`);
  const port = await ownPort();
  const args = [
    ...['serve', '--ca', 'ephemeralca', '--ct-log-url=', '--config-path', config, '--host', '127.0.0.1', '--port', `${port}`],
    ...['--grpc-host', '127.0.0.1', '--grpc-port', `${await ownPort()}`, '--metrics-port', `${await ownPort()}`],
    // An abstract socket, of which there is one for each name on a machine.
    ...['--legacy-unix-domain-socket', `@fulcio-${process.pid}-${port}`],
  ];
  const server = await start(t, place, port, 'fulcio', args);
  await waitUntilReady(server, `http://127.0.0.1:${port}/healthz`);
  return asServer(server, await fetchPem(`http://127.0.0.1:${port}/api/v1/rootCert`, join(directory, 'fulcio.pem')));
}

/** A transparency log in a folder. Every entry waits for the next checkpoint, so these come often. */
export async function startRekor(t: Ending, place: Place): Promise<SigstoreServer> {
  const { directory } = place;
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const files = { key: join(directory, 'rekor.pem'), pub: join(directory, 'rekor.pub'), log: join(directory, 'rekor') };
  await Promise.all([writeFile(files.key, privateKey), writeFile(files.pub, publicKey), mkdir(files.log)]);
  const port = await ownPort();
  const args = [
    ...['serve', '--signer-filepath', files.key, '--storage-dir', files.log, '--checkpoint-interval', '100ms'],
    // The checkpoint's origin: clients expect the host of the log's URL there, without the port.
    ...['--hostname', '127.0.0.1'],
    ...['--http-address', '127.0.0.1', '--http-port', `${port}`, '--grpc-port', `${await ownPort()}`],
    ...['--http-metrics-port', `${await ownPort()}`],
  ];
  const server = await start(t, place, port, 'rekor-server', args);
  await waitUntilReady(server, `http://127.0.0.1:${port}/healthz`);
  return asServer(server, files.pub);
}

/** timestamp-server serves its metrics here, on all interfaces, whatever it is told: one per machine. */
const METRICS_PORT = 2112;
const ONLY_ONE_WITHIN_MS = 120_000;

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.on('error', () => resolve(false));
    probe.listen(port, () => probe.close(() => resolve(true)));
  });

const lostTheRace = (output: string): boolean => output.includes(`:${METRICS_PORT}: bind`);

/** undefined: another one took the metrics port first; then this one ends, perhaps only after it has answered. */
async function tryTimestampServer(t: Ending, place: Place): Promise<Server | undefined> {
  const port = await ownPort();
  const args = ['serve', '--host', '127.0.0.1', '--port', `${port}`, '--timestamp-signer', 'memory', '--disable-ntp-monitoring'];
  let output = (): string => '';
  try {
    const server = await start(t, place, port, 'timestamp-server', args);
    output = server.output;
    await waitUntilReady(server, `http://127.0.0.1:${port}/ping`);
    return lostTheRace(output()) ? undefined : server;
  } catch (error) {
    if (lostTheRace(`${error}${output()}`)) return undefined;
    throw error;
  }
}

/** A timestamp authority with a new key. Waits up to two minutes for that of another test run: a machine can run only one. */
export async function startTimestampServer(t: Ending, place: Place): Promise<SigstoreServer> {
  for (const end = Date.now() + ONLY_ONE_WITHIN_MS; Date.now() < end; await sleep(200)) {
    if (!(await isFree(METRICS_PORT))) continue;
    const server = await tryTimestampServer(t, place);
    if (server === undefined) continue;
    const url = `http://127.0.0.1:${server.port}/api/v1/timestamp/certchain`;
    return asServer(server, await fetchPem(url, join(place.directory, 'tsa.pem')));
  }
  throw new Error(`another program keeps port ${METRICS_PORT}, which timestamp-server needs: give startSigstore the running one`);
}
