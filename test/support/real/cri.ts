/**
 * The call of the kubelet's CRI that pulls an image, spoken as gRPC over HTTP/2 (k8s.io/cri-api runtime/v1/api.proto): there is no crictl
 * to be had, and this is the path on which containerd reads certs.d and its logins as k3s writes them.
 */
import { connect } from 'node:http2';
import { createConnection } from 'node:net';

/** A length-delimited protobuf field. Lengths here stay below 2^14. */
function field(number: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 128 ? [length] : [(length & 0x7f) | 0x80, length >> 7];
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...size]), content]);
}

/** gRPC over HTTP/2: five bytes (no compression, the length), then the message. */
function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

export type CriAnswer = Readonly<{ status: number; message: string }>;

/** `PullImage` as the kubelet sends it, to the containerd behind `socket`. Status 0 is success; `message` is what the kubelet would show. */
export function criPull(socket: string, reference: string): Promise<CriAnswer> {
  const session = connect('http://localhost', { createConnection: () => createConnection(socket) });
  return new Promise<CriAnswer>((resolve, reject) => {
    session.once('error', reject);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/runtime.v1.ImageService/PullImage',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let answer: Record<string, unknown> = {};
    const remember = (headers: Record<string, unknown>): void => {
      answer = { ...answer, ...headers };
    };
    stream.on('response', remember).on('trailers', remember).on('error', reject);
    stream.on('end', () =>
      resolve({ status: Number(answer['grpc-status'] ?? -1), message: decodeURIComponent(String(answer['grpc-message'] ?? '')) }),
    );
    stream.resume();
    stream.setTimeout(60_000, () => stream.destroy(new Error(`PullImage ${reference}: no answer in 60 s`)));
    // PullImageRequest{image: ImageSpec{image: reference}}
    stream.end(frame(field(1, field(1, Buffer.from(reference)))));
  }).finally(() => session.close());
}
