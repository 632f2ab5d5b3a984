import type { SigningKey } from '../sign/signing-key.ts';
import type { Context } from './context.ts';
import type { Args } from './options.ts';

/**
 * What `--key` names, each key once; none with --dry-run.
 * @param signal ends the programs that hold keys, also later, while they sign
 * @throws BundleError E_USAGE, E_KEY_FILE, E_KEY_PASSWORD, E_INTERRUPTED
 */
export async function signingKeysFor(args: Args, context: Context, signal = context.signal): Promise<SigningKey[]> {
  if (args.key === undefined || args['dry-run']) return [];
  const { loadSigningKeys } = await import('../sign/private-key-source.ts');
  const { terminalPrompt } = await import('../sign/password-prompt.ts');
  return loadSigningKeys(context.fs, args.key, {
    passwordFile: args['key-password-file'],
    env: context.env,
    signal,
    prompt: terminalPrompt(process.stdin, process.stderr),
  });
}
