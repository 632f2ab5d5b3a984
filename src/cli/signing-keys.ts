import type { SigningKey } from '../sign/signing-key.ts';
import type { Context } from './context.ts';
import type { Args } from './options.ts';

/** What `--key` names, each key once; none with --dry-run. @throws BundleError E_USAGE, E_KEY_FILE, E_KEY_PASSWORD, E_INTERRUPTED */
export async function signingKeysFor(args: Args, context: Context): Promise<SigningKey[]> {
  if (args.key === undefined || args['dry-run']) return [];
  const { loadSigningKey } = await import('../sign/private-key-source.ts');
  const { terminalPrompt } = await import('../sign/password-prompt.ts');
  const keys = new Map<string, SigningKey>();
  for (const spec of args.key) {
    const key = await loadSigningKey(context.fs, spec, {
      passwordFile: args['key-password-file'],
      env: context.env,
      signal: context.signal,
      prompt: terminalPrompt(process.stdin, process.stderr),
    });
    keys.set(key.publicKey.keyid, key);
  }
  return [...keys.values()];
}
