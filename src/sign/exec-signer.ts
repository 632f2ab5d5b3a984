import { createHash, verify } from 'node:crypto';
import { BundleError } from '../core/errors.ts';
import { shown } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { PASSWORD_VARIABLES } from './password.ts';
import { strictBase64 } from './pem.ts';
import { type PublicKey, parsePublicKeys, toKeyObject } from './public-key.ts';
import { runSignerProgram, type SignerProgram } from './signer-program.ts';
import type { SigningKey } from './signing-key.ts';

// The protocol is docs/signer-protocol.md.

const SCHEME = 'exec:';

/** `exec:PROGRAM [ARG…]`, as `--key` has it. A file of such a name is `./exec:…`. */
export const isExecKey = (spec: string): boolean => spec.startsWith(SCHEME);

/**
 * The words of `exec:PROGRAM ARG ARG` (by spaces) or `exec:["PROGRAM", "ARG"]` (for words with spaces in them). Nobody takes quotes away here, so
 * those of the first form are refused instead of being handed on.
 * @throws BundleError E_USAGE
 */
export function parseExecKey(spec: string): string[] {
  const text = spec.slice(SCHEME.length).trim();
  const words = text.startsWith('[') ? fromJson(text) : text.split(/ +/);
  if (words === undefined || words[0] === undefined || words[0] === '' || words.some((word) => word.includes('\0'))) {
    throw usage(spec, 'want exec:PROGRAM ARG… or exec:["PROGRAM", "ARG"]');
  }
  if (!text.startsWith('[') && /["'`\\$\t\r\n]/.test(text))
    throw usage(spec, 'no shell reads it: quotes and variables mean nothing here');
  if (words.length > LIMITS.signerArguments) throw usage(spec, `more than ${LIMITS.signerArguments} words`);
  return words;
}

function fromJson(text: string): string[] | undefined {
  try {
    const json: unknown = JSON.parse(text);
    return Array.isArray(json) && json.every((word) => typeof word === 'string') ? json : undefined;
  } catch {
    return undefined;
  }
}

const usage = (spec: string, why: string): BundleError =>
  new BundleError('E_USAGE', `--key ${shown(spec)}: ${why}`, {
    hint: 'words with spaces in them: --key \'exec:["/opt/my signer", "--slot", "0"]\'',
  });

/**
 * A key that a program holds: asked for its public half at once, and for one signature at a time (tokens have one seat). The program gets `env`
 * without the passwords of our own key files.
 * @throws BundleError E_USAGE for `spec`; E_KEY_FILE when the program fails or its key is no P-256 key; E_INTERRUPTED
 */
export async function loadExecKey(spec: string, { env, ...rest }: Omit<SignerProgram, 'command'>): Promise<SigningKey> {
  const command = parseExecKey(spec);
  const kept = Object.fromEntries(Object.entries(env).filter(([name]) => !PASSWORD_VARIABLES.includes(name)));
  const program: SignerProgram = { command, env: kept, ...rest };
  const what = `--key ${shown(spec)}`;
  const keys = parsePublicKeys(await runSignerProgram(program, ['public-key'], ''), what, 'E_KEY_FILE');
  const [publicKey] = keys;
  if (publicKey === undefined || keys.length !== 1) {
    throw new BundleError('E_KEY_FILE', `${what}: it printed ${keys.length} public keys, want one`);
  }
  let last: Promise<unknown> = Promise.resolve();
  return {
    publicKey,
    signer: {
      sign(data) {
        const signature = last.then(() => signOnce(program, publicKey, data, what));
        last = signature.catch(() => undefined);
        return signature.then((bytes) => ({
          signature: bytes,
          key: { $case: 'publicKey', publicKey: publicKey.pem, hint: publicKey.hint },
        }));
      },
    },
  };
}

async function signOnce(program: SignerProgram, publicKey: PublicKey, data: Buffer, what: string): Promise<Buffer> {
  const digest = createHash('sha256').update(data).digest('hex');
  const signature = strictBase64((await runSignerProgram(program, ['sign', 'sha256'], `${digest}\n`)).replace(/\s+/g, ''));
  if (signature === undefined || signature.length === 0) {
    throw new BundleError('E_KEY_FILE', `${what}: it did not answer with a signature in base64`, {
      hint: 'want base64 of the DER form: docs/signer-protocol.md',
    });
  }
  if (verify('sha256', data, toKeyObject(publicKey), signature)) return signature;
  throw new BundleError(
    'E_SIGNATURE',
    `${what}: its signature does not verify with its public key ${publicKey.keyid}; it was thrown away`,
    {
      hint: 'want ECDSA over the digest as it is (not hashed again), in DER form (not r and s in a row), by the key that public-key prints',
    },
  );
}
