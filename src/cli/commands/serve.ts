import { BundleError } from '../../core/errors.ts';
import { type CommandDefinition, numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import { type Args, GATE } from '../options.ts';
import { DEFAULT_STATE, trustFor } from '../ports.ts';

export const serveCommand: CommandDefinition = {
  usage: 'serve <bundle>',
  describe: 'be a read-only registry straight from the bundle, with the paths of a target',
  positionals: { bundle: { type: 'string', demandOption: true, describe: 'directory of the bundle; may be read-only' } },
  options: ['listen', 'tls-cert', 'tls-key', 'state', 'allow-rollback', ...GATE],
  examples: [
    ['$0 serve /media/usb/lumen --trust release.pub', 'on http://127.0.0.1:5000'],
    ['$0 serve lumen --listen 0.0.0.0:5000 --tls-cert node-1.crt --tls-key node-1.key', 'for the nodes'],
  ],
  async run(args, context) {
    const { verifyBundle } = await import('../../bundle/verify.ts');
    const { servedContent } = await import('../../bundle/served-content.ts');
    const { newestSeen, requireNewestSeen } = await import('../../load/state.ts');
    const { startRegistry } = await import('../../serve/server.ts');
    const wanted = numberFlag(args, 'generation', 1, Number.MAX_SAFE_INTEGER);
    const trust = await trustFor(args, context);
    const tls = await tlsFiles(args, context);
    const { host, port } = parseListen(args.listen ?? '127.0.0.1:5000');
    if (!args.quiet) context.stderr('verifying signatures, manifests and sizes; layers are hashed whenever they are read\n');
    const now = Math.max(context.now(), await newestSeen(context.fs, args.state ?? DEFAULT_STATE));
    // Sizes and manifests now, the bytes of layers when they are read: each is hashed while it goes out.
    const bundle = await verifyBundle(context.fs, String(args.bundle), {
      trust,
      now,
      name: args.name,
      generation: wanted,
      hashBlobs: false,
      signal: context.signal,
    });
    for (const warning of bundle.warnings) context.stderr(`warning: ${warning}\n`);
    const { name, sequence, created } = bundle.generation.statement.predicate;
    const incoming = { sequence, statement: bundle.generation.statementDigest, created };
    await requireNewestSeen(context.fs, args.state ?? DEFAULT_STATE, name, incoming, args['allow-rollback'] ?? false);
    const registry = await startRegistry({
      content: servedContent(bundle),
      readOnly: true,
      host,
      port,
      ...(tls === undefined ? {} : { tls }),
    });
    const { predicate } = bundle.generation.statement;
    if (args.json)
      context.stdout(`${JSON.stringify({ ok: true, url: registry.url, name: predicate.name, sequence: predicate.sequence })}\n`);
    else
      context.stdout(
        `serving "${predicate.name}" generation ${predicate.sequence} read-only on ${registry.url} (Ctrl-C ends it)\n`,
      );
    await ended(context.signal);
    await registry.close();
    return 0;
  },
};

const ended = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** `host:port`, `:port` for all addresses, `[::1]:5000`. @throws BundleError E_USAGE */
export function parseListen(text: string): { host: string; port: number } {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:[\]]*):(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) throw new BundleError('E_USAGE', `--listen ${JSON.stringify(text)} is not host:port`);
  const host = (match[1] as string).replace(/^\[|\]$/g, '');
  return { host: host === '' ? '::' : host, port };
}

async function tlsFiles(args: Args, context: Context): Promise<{ cert: string; key: string } | undefined> {
  const [cert, key] = [args['tls-cert'], args['tls-key']];
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new BundleError('E_USAGE', 'TLS needs both --tls-cert and --tls-key');
  const read = async (file: string): Promise<string> => {
    try {
      return (await context.fs.readUserFile(file, 1024 * 1024)).toString('utf8');
    } catch (error) {
      throw new BundleError('E_USAGE', `${file} can't be read: ${(error as Error).message}`, { cause: error });
    }
  };
  return { cert: await read(cert), key: await read(key) };
}
