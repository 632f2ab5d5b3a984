import { BundleError } from '../../core/errors.ts';
import type { CommandDefinition } from '../command.ts';
import { type Args, GATE, type OptionName } from '../options.ts';

/** Of the registry with a directory of its own. */
const OF_WRITABLE = [
  'push',
  'insecure-anonymous-push',
  'complete-only',
  'min-free',
  'gc-every',
  'gc-grace',
  'delete-untagged-after',
  'scrub-every',
  'break-lock',
] as const satisfies readonly OptionName[];

export const serveCommand: CommandDefinition = {
  usage: 'serve [bundle]',
  describe: 'be a registry: read-only straight from a bundle, or with --writable the one that a site keeps for years',
  positionals: { bundle: { type: 'string', describe: 'directory of a bundle to serve read-only; may be read-only itself' } },
  options: [
    'writable',
    'listen',
    'tls',
    'tls-name',
    'tls-dir',
    'tls-cert',
    'tls-key',
    'htpasswd',
    'add-user',
    'password-file',
    'anonymous-pull',
    'insecure-http',
    'access-log',
    'metrics',
    'grace',
    ...OF_WRITABLE,
    'state',
    'allow-rollback',
    ...GATE,
  ],
  examples: [
    ['$0 serve /media/usb/lumen --trust release.pub', 'a bundle, read-only, on http://127.0.0.1:5000'],
    ['$0 serve --htpasswd /etc/bundle/users --add-user release < password', 'a user who may push'],
    [
      '$0 serve --writable /var/lib/bundle/registry --listen :5000 --tls self --htpasswd /etc/bundle/users --anonymous-pull',
      "node-1's own registry: nodes pull without a login, the users in the file push",
    ],
    ['$0 serve --writable ./registry', 'to try it: everything allowed, on loopback alone'],
  ],
  async run(args, context) {
    if (args['add-user'] !== undefined) {
      const { addUser } = await import('../serve/add-user.ts');
      return addUser(args, context);
    }
    if (args['password-file'] !== undefined) throw new BundleError('E_USAGE', '--password-file says nothing without --add-user');
    const { bundle, writable } = args as Args & Readonly<{ bundle?: string }>;
    if ((bundle === undefined) === (writable === undefined))
      throw new BundleError('E_USAGE', 'say what to serve: either a bundle or --writable DIR', {
        hint: 'bundle serve /media/usb/lumen, or: bundle serve --writable /var/lib/bundle/registry',
      });
    if (writable !== undefined) {
      const { serveSite } = await import('../serve/site.ts');
      await serveSite(args, context, writable);
      return 0;
    }
    const misplaced = OF_WRITABLE.find((name) => args[name] !== undefined);
    if (misplaced !== undefined)
      throw new BundleError('E_USAGE', `--${misplaced} says nothing without --writable: a bundle is read-only`);
    const { serveBundle } = await import('../serve/bundle.ts');
    await serveBundle(args, context, String(bundle));
    return 0;
  },
};
