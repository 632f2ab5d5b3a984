import { numberFlag } from '../command.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';
import { DEFAULT_STATE, policiesFor, trustFor } from '../ports.ts';
import { announce } from './announce.ts';
import { certificateSource, openCertificates } from './certificates.ts';
import { checkExposure } from './exposure.ts';
import { parseListen } from './listen-address.ts';
import { runRegistry } from './run-registry.ts';
import { usersFor } from './users.ts';

/** A bundle, read-only, behind the gate that load has. @throws BundleError */
export async function serveBundle(args: Args, context: Context, directory: string): Promise<void> {
  const { verifyBundle } = await import('../../bundle/verify.ts');
  const { servedContent } = await import('../../bundle/served-content.ts');
  const { newestSeen, requireNewestSeen } = await import('../../load/state.ts');
  const wanted = numberFlag(args, 'generation', 1, Number.MAX_SAFE_INTEGER);
  const state = args.state ?? DEFAULT_STATE;
  const warn = (text: string): void => context.stderr(`warning: ${text}\n`);
  const trust = await trustFor(args, context);
  const policies = await policiesFor(args, context);
  const address = parseListen(args.listen ?? '127.0.0.1:5000');
  const users = await usersFor(args, context, warn);
  const source = certificateSource(args, context, args['tls-dir'] ?? `${state}/tls`);
  checkExposure(args, { address, writable: false, users: users !== undefined, tls: source !== undefined });
  const certificates = source && (await openCertificates(source, context.now(), warn));
  if (!args.quiet) context.stderr('verifying signatures, manifests and sizes; layers are hashed whenever they are read\n');
  const now = Math.max(context.now(), await newestSeen(context.fs, state));
  // Sizes and manifests now, the bytes of layers when they are read: each is hashed while it goes out.
  const bundle = await verifyBundle(context.fs, directory, {
    trust,
    policies,
    now,
    name: args.name,
    generation: wanted,
    hashBlobs: false,
    signal: context.signal,
  });
  for (const warning of bundle.warnings) warn(warning);
  const { name, sequence, created } = bundle.generation.statement.predicate;
  const incoming = { sequence, statement: bundle.generation.statementDigest, created };
  await requireNewestSeen(context.fs, state, name, incoming, args['allow-rollback'] ?? false);
  const served = {
    content: servedContent(bundle),
    readOnly: true,
    address,
    users,
    certificates,
    // The medium may be pulled out.
    probe: async () => {
      await context.fs.readFile(`${directory}/oci-layout`, 4096);
      return undefined;
    },
    stats: { openUploads: () => 0, store: () => undefined },
    warn,
  };
  await runRegistry(args, context, served, (url, metricsUrl) =>
    announce(args, context, {
      what: `"${name}" generation ${sequence} read-only`,
      fields: { name, sequence },
      url,
      metricsUrl,
      own: certificates?.own,
      address,
      writable: false,
      users: users !== undefined,
      anonymousPull: args['anonymous-pull'] ?? false,
    }),
  );
}
