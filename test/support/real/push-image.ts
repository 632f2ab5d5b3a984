/** Puts an image that was made in memory into an open registry, by plain requests: no client of ours, none of the peers'. */
import type { TestImage } from '../random-image.ts';
import type { Registry } from './registries.ts';

async function expect(status: number, pending: Promise<Response>): Promise<Response> {
  const response = await pending;
  const text = await response.text();
  if (response.status !== status) throw new Error(`${response.url}: ${response.status} ${text.slice(0, 300)}`);
  return response;
}

/** Children by digest, the root under its tag. */
export async function pushImage({ host }: Registry, repository: string, tag: string, image: TestImage): Promise<void> {
  const base = `http://${host}/v2/${repository}`;
  for (const blob of image.blobs) {
    const session = await expect(202, fetch(`${base}/blobs/uploads/`, { method: 'POST' }));
    const url = new URL(session.headers.get('location') ?? '', base);
    url.searchParams.set('digest', blob.digest);
    const body = Buffer.concat([...blob.read(0, blob.size)]);
    await expect(201, fetch(url, { method: 'PUT', body, headers: { 'content-type': 'application/octet-stream' } }));
  }
  for (const { digest, mediaType, bytes } of image.manifests) {
    const reference = digest === image.digest ? tag : digest;
    await expect(
      201,
      fetch(`${base}/manifests/${reference}`, { method: 'PUT', body: bytes, headers: { 'content-type': mediaType } }),
    );
  }
}
