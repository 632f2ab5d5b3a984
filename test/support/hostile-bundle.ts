/** Bundles that a trusted key signed and that are wrong all the same: what a broken or malicious signer, or an older tool, could make. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { PREDICATE_TYPE, STATEMENT_TYPE } from '../../src/bundle/statement.ts';
import { MEDIA_TYPE } from '../../src/core/media-types.ts';
import type { PrivateKey } from '../../src/sign/private-key.ts';
import { createKeySigner } from '../../src/sign/signer.ts';
import { signStatement } from '../../src/sign/statement-signature.ts';
import { digestOfBytes } from './random-layer.ts';

/** JSON open to any change. */
// biome-ignore lint/suspicious/noExplicitAny: a hostile document has no type
export type Loose = any;
export type Listed = { digest: string; size: number };
export type Entry = Listed & { mediaType: string };

/** Bytes by digest. */
export type Blobs = Map<string, Buffer>;

export const put = (blobs: Blobs, content: Buffer | string, mediaType = 'application/octet-stream'): Entry => {
  const bytes = Buffer.from(content as string);
  const digest = digestOfBytes(bytes);
  blobs.set(digest, bytes);
  return { mediaType, digest, size: bytes.length };
};
export const putJson = (blobs: Blobs, mediaType: string, body: object): Entry => put(blobs, JSON.stringify(body), mediaType);

/** A small good image: what its fields are changed to is the caller's business. */
export function putImageManifest(blobs: Blobs, more: { layers?: object[] } & Loose = {}, salt = 'x'): Entry {
  const config = put(blobs, JSON.stringify({ architecture: 'amd64', os: 'linux', salt }), MEDIA_TYPE.ociConfig);
  const layers = more.layers ?? [put(blobs, `layer ${salt}`, 'application/vnd.oci.image.layer.v1.tar')];
  return putJson(blobs, MEDIA_TYPE.ociManifest, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config,
    ...more,
    layers,
  });
}

export const putIndex = (blobs: Blobs, manifests: readonly object[], more: object = {}): Entry =>
  putJson(blobs, MEDIA_TYPE.ociIndex, { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests, ...more });

export type Hostile = Readonly<{
  blobs: Blobs;
  roots: readonly Entry[];
  /** Changes the statement before it is signed. */
  statement?: (statement: Loose) => unknown;
  /** Changes index.json before its digest is taken. */
  index?: (index: Loose) => unknown;
  /** The signed bytes themselves, in the place of the statement's JSON. */
  text?: (json: string) => string | Buffer;
  /** Number of the folder; default 5, as in the statement. */
  folder?: number;
}>;

export const refOf = (i: number): string => `docker.io/team/image-${i}:1.0`;

/** Writes a bundle of one generation, signed by `key`. */
export async function writeHostile(directory: string, key: PrivateKey, hostile: Hostile): Promise<void> {
  const { blobs, roots, folder = 5 } = hostile;
  const index: Loose = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociIndex,
    manifests: roots.map((root, i) => ({ ...root, annotations: { 'org.opencontainers.image.ref.name': refOf(i) } })),
  };
  hostile.index?.(index);
  const files: Record<string, Buffer> = {
    'index.json': Buffer.from(JSON.stringify(index)),
    'lock.json': Buffer.from('{}\n'),
    'oci-layout': Buffer.from('{"imageLayoutVersion":"1.0.0"}'),
  };
  const file = (name: string) => ({
    name,
    digest: digestOfBytes(files[name] as Buffer),
    size: (files[name] as Buffer).length,
  });
  const statement: Loose = {
    _type: STATEMENT_TYPE,
    subject: [{ name: 'index.json', digest: { sha256: digestOfBytes(files['index.json'] as Buffer).slice(7) } }],
    predicateType: PREDICATE_TYPE,
    predicate: {
      name: 'lumen',
      sequence: 5,
      created: '2026-11-21T08:00:00Z',
      platforms: ['linux/amd64'],
      contents: roots.map((root, i) => ({
        kind: 'image',
        ref: refOf(i),
        digest: root.digest,
        mediaType: root.mediaType,
        targetDigest: root.digest,
        targetMediaType: root.mediaType,
        targetSize: root.size,
        form: 'whole',
        platforms: ['linux/amd64'],
        size: root.size,
      })),
      blobs: [...blobs].map(([digest, bytes]) => ({ digest, size: bytes.length })),
      files: [file('lock.json'), file('oci-layout')],
      tool: 'hostile',
    },
  };
  hostile.statement?.(statement);
  const json = JSON.stringify(statement);
  const statementBytes = Buffer.from((hostile.text?.(json) ?? json) as string);
  files['bundle.json'] = statementBytes;
  files[`${key.publicKey.keyid}.sigstore.json`] = Buffer.from(await signStatement(createKeySigner(key), statementBytes));
  await rm(directory, { recursive: true, force: true });
  await mkdir(`${directory}/generations/${folder}`, { recursive: true });
  await mkdir(`${directory}/blobs/sha256`, { recursive: true });
  for (const [name, bytes] of Object.entries(files)) {
    await writeFile(`${directory}/${name}`, bytes);
    if (name !== 'oci-layout') await writeFile(`${directory}/generations/${folder}/${name}`, bytes);
  }
  await rm(`${directory}/lock.json`);
  for (const [digest, bytes] of blobs) await writeFile(`${directory}/blobs/sha256/${digest.slice(7)}`, bytes);
}
