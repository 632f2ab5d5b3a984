import type { Signer } from '@sigstore/sign';
import type { PrivateKey } from './private-key.ts';
import type { PublicKey } from './public-key.ts';
import { createKeySigner } from './signer.ts';

/** What signs: a key file, or a program that holds the key (exec-signer.ts). The secret is behind `signer`. */
export type SigningKey = Readonly<{ publicKey: PublicKey; signer: Signer }>;

export const signingKeyOf = (key: PrivateKey): SigningKey => ({ publicKey: key.publicKey, signer: createKeySigner(key) });
