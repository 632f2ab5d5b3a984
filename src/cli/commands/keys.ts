import { BundleError } from '../../core/errors.ts';
import type { CommandDefinition } from '../command.ts';
import { printJson } from '../render/failure.ts';

export const keysGenerateCommand: CommandDefinition = {
  usage: 'keys generate',
  describe: 'make a key pair to sign bundles with (cosign can use it too)',
  options: ['output', 'key-password-file'],
  describes: {
    output: 'the two files without their endings: release makes release.key and release.pub (default: bundle)',
    'key-password-file': "file with the new key's password (or BUNDLE_KEY_PASSWORD, COSIGN_PASSWORD, or a prompt)",
  },
  examples: [
    [
      '$0 keys generate -o release',
      'writes release.key (keep it) and release.pub (carry it to node-1 by another way than the medium)',
    ],
  ],
  async run(args, context) {
    const { generateKeyPair } = await import('../../sign/generate.ts');
    const { readNewPassword } = await import('../../sign/password.ts');
    const { terminalPrompt } = await import('../../sign/password-prompt.ts');
    const prefix = args.output ?? 'bundle';
    if (prefix === '-')
      throw new BundleError('E_USAGE', 'keys generate -o -: a private key is never printed', {
        hint: 'name the files: -o release makes release.key and release.pub',
      });
    const prompt = terminalPrompt(process.stdin, process.stderr);
    const password = await readNewPassword(context.fs, { passwordFile: args['key-password-file'], env: context.env, prompt });
    const made = await generateKeyPair(context.fs, prefix, password);
    if (args.json) printJson(context, { key: made.keyPath, public: made.pubPath, keyid: made.publicKey.keyid });
    else
      context.stdout(
        `${made.keyPath}  private key, encrypted: stays here\n${made.pubPath}  public key: bring it to node-1 by another way than the medium\nkeyid ${made.publicKey.keyid}\n`,
      );
    return 0;
  },
};
