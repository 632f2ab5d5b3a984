/** How the client uses connections and certificates: few of the one, the right ones of the other. */

import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createTransport, type HttpRequest, type Transport, type TransportOptions } from '../../src/registry/transport.ts';
import { rejectsWith } from '../support/assert-code.ts';
import { type CertificateAuthority, createCertificateAuthority } from '../support/certificates.ts';
import { type Ending, tempDir } from '../support/temp-dir.ts';

function transportFor(t: Ending, options: TransportOptions): Transport {
  const transport = createTransport({ environment: {}, ...options });
  t.after(() => transport.close());
  return transport;
}

async function ask(transport: Transport, method: HttpRequest['method'], url: URL): Promise<number> {
  const response = await transport.send({ method, url });
  await response.discard();
  return response.status;
}

type Site = Readonly<{ url: URL; host: string; connections(): number }>;

async function startSite(t: Ending, ca: CertificateAuthority, wantsClient = false): Promise<Site> {
  let connections = 0;
  const pair = await ca.server();
  const server = createHttpsServer({ ...pair, ...(wantsClient ? { ca: ca.cert, requestCert: true } : {}) }, (_, response) =>
    response.end('{}'),
  );
  server.on('secureConnection', () => connections++);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url: new URL(`https://${host}/v2/`), host, connections: () => connections };
}

describe('connections of the registry client', () => {
  it('serve one request after another, HEAD too', async (t) => {
    const ca = await createCertificateAuthority();
    const directory = await tempDir(t);
    const caFile = join(directory, 'ca.crt');
    await writeFile(caFile, ca.cert);
    const site = await startSite(t, ca);
    const transport = transportFor(t, { caFiles: [caFile] });
    for (let i = 0; i < 10; i++) assert.equal(await ask(transport, i % 2 === 0 ? 'HEAD' : 'GET', site.url), 200);
    assert.ok(site.connections() <= 3, `${site.connections()} connections for ten requests`);
  });

  it('are given up where a server sends a body after a HEAD: the next answer is the right one', async (t) => {
    const body = '{"to":"nobody"}';
    const server = createTcpServer((socket) => {
      socket.on('error', () => undefined);
      socket.on('data', (asked) => {
        const method = asked.toString('latin1').split(' ')[0];
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nX-Method: ${method}\r\n\r\n${body}`);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => void server.close());
    const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/`);
    const transport = transportFor(t, {});
    for (const method of ['HEAD', 'GET', 'HEAD', 'HEAD', 'GET'] as const) {
      const response = await transport.send({ method, url });
      assert.equal(response.header('x-method'), method);
      let text = '';
      for await (const chunk of response.body) text += Buffer.from(chunk).toString('utf8');
      assert.equal(text, method === 'GET' ? body : '');
    }
  });
});

describe('certificates of the registry client', () => {
  it('come from the folder of the host alone', async (t) => {
    const ca = await createCertificateAuthority();
    const [one, other] = [await startSite(t, ca, true), await startSite(t, ca, true)];
    const certsDir = await tempDir(t);
    const own = join(certsDir, one.host);
    const client = await ca.client();
    await mkdir(own);
    await Promise.all([
      writeFile(join(own, 'ca.crt'), ca.cert),
      writeFile(join(own, 'client.cert'), client.cert),
      writeFile(join(own, 'client.key'), client.key),
    ]);
    const transport = transportFor(t, { certsDir });
    assert.equal(await ask(transport, 'GET', one.url), 200);
    await rejectsWith(ask(transport, 'GET', other.url), 'E_TLS');
  });

  it('for another name: the advice says which names the certificate has', async (t) => {
    const ca = await createCertificateAuthority();
    const caFile = join(await tempDir(t), 'ca.crt');
    await writeFile(caFile, ca.cert);
    const pair = await ca.server(['registry.corp.example']);
    const server = createHttpsServer(pair, (_, response) => response.end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.2', resolve));
    t.after(() => void server.close());
    const url = new URL(`https://127.0.0.2:${(server.address() as AddressInfo).port}/`);
    const error = await rejectsWith(ask(transportFor(t, { caFiles: [caFile] }), 'GET', url), 'E_TLS', /ALTNAME_INVALID/);
    assert.match(error.hint ?? '', /not for 127\.0\.0\.2: it has .*registry\.corp\.example/);
    const unknown = await rejectsWith(ask(transportFor(t, {}), 'GET', url), 'E_TLS');
    assert.match(unknown.hint ?? '', /--ca-file/);
  });

  it('that are broken, missing or keys are a usage error which names the file', async (t) => {
    const directory = await tempDir(t);
    const broken = join(directory, 'broken.crt');
    await writeFile(broken, '-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n');
    const key = join(directory, 'key.crt');
    await writeFile(key, (await (await createCertificateAuthority()).server()).key);
    for (const file of [broken, key, join(directory, 'absent.crt')]) {
      const transport = transportFor(t, { caFiles: [file] });
      const error = await rejectsWith(ask(transport, 'GET', new URL('https://127.0.0.1:1/')), 'E_USAGE');
      assert.ok(error.message.includes(file));
    }
  });
});
