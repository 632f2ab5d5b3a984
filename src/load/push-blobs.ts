import type { VerifiedBundle, VerifiedContent } from '../bundle/verify.ts';
import type { Descriptor } from '../core/descriptor.ts';
import type { Reporter } from '../core/progress.ts';
import type { PushOutcome } from '../registry/uploads.ts';
import type { PushContext } from './push.ts';

/** Configs and layers of the target's graph and of the original's (attestations), each once. */
export const blobsOf = ({ target, original }: VerifiedContent): Descriptor[] => [
  ...new Map([...target.blobs, ...(original?.blobs ?? [])].map((d) => [d.digest, d])).values(),
];

export const pushKey = (repository: string, { digest }: Pick<Descriptor, 'digest'>): string => `${repository} ${digest}`;

/** @param fresh small, and nothing that names it is there: it is not asked for first */
export function pushBlobOnce(context: PushContext, repository: string, blob: Descriptor, fresh = false): Promise<PushOutcome> {
  const key = pushKey(repository, blob);
  let pending = context.pushed.get(key);
  if (pending === undefined) {
    pending = pushBlobTo(context, repository, blob, fresh);
    context.pushed.set(key, pending);
    pending.catch(() => undefined); // seen by whoever awaits it
    if (!context.first.has(blob.digest)) context.first.set(blob.digest, { repository, done: pending });
  }
  return pending;
}

async function pushBlobTo(context: PushContext, repository: string, blob: Descriptor, fresh: boolean): Promise<PushOutcome> {
  const { ports, bundle, target } = context;
  const first = context.first.get(blob.digest);
  const elsewhere = first !== undefined && first.repository !== repository ? first : undefined;
  // Wait for the first upload: mounting it then costs one request instead of all its bytes.
  const mountFrom =
    elsewhere !== undefined &&
    (await elsewhere.done.then(
      () => true,
      () => false,
    ))
      ? elsewhere.repository
      : undefined;
  const size = blob.size;
  return ports.client.inSlot(target.host, async () => {
    ports.signal.throwIfAborted();
    const outcome = await ports.client.pushBlob(target.host, {
      repository,
      blob,
      // Hashed again while it is sent: a medium that changed since the check can't get a wrong byte through.
      read: (start, end) => counted(readForPush(bundle, blob, start, end), ports.report, ports.onWrite),
      mountFrom,
      fresh,
      signal: ports.signal,
    });
    if (outcome !== 'present') ports.onWrite();
    if (outcome !== 'pushed') ports.report({ type: 'bytes', count: size });
    return outcome;
  });
}

/** The whole is hashed while it is sent; chunks are hashed together by the upload, before the request that closes it. */
export const readForPush = (
  bundle: VerifiedBundle,
  { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
  start: number,
  end: number,
): AsyncIterable<Uint8Array> =>
  start === 0 && end === size ? bundle.store.read({ digest, size }) : bundle.store.readPart({ digest, size }, start, end);

async function* counted(body: AsyncIterable<Uint8Array>, report: Reporter, onWrite: () => void): AsyncGenerator<Uint8Array> {
  onWrite();
  for await (const chunk of body) {
    report({ type: 'bytes', count: chunk.length });
    yield chunk;
  }
}
