/** Who runs against whom, by what is done. */
import { join } from 'node:path';
import { type Registry, startRegistry } from '../../test/support/real/registries.ts';
import * as ours from './ours.ts';
import * as peers from './peers.ts';
import type { Contender, Role, Step } from './rounds.ts';

export type Origin = Readonly<{ site: peers.Site; registry: Registry }>;

const PULLERS = ['crane', 'oras', 'regctl', 'skopeo'] as const;
const RESOLVERS = ['crane', 'oras', 'regctl'] as const;
const PUSHERS = ['oras', 'regctl', 'skopeo'] as const;

const KEY = ['--key', 'bench.key'] as const;

const contender = (name: string, role: Role, round: Contender['round']): Contender => ({ name, role, round });

/** Start-up alone. */
export const starting: readonly Contender[] = [
  ...PULLERS.map((peer) => contender(peer, 'peer', () => [{ stage: '--version', command: peers.version(peer) }])),
  ...Object.entries(ours.programs).map(([name, program]) =>
    contender(name, 'ours', () => [{ stage: '--version', command: { argv: [program, '--version'] } }]),
  ),
];

export const resolving = ({ site, registry }: Origin): readonly Contender[] => [
  contender('curl, HEAD of each tag', 'floor', () => [{ stage: 'lock', command: peers.curlTags(site), registry }]),
  ...RESOLVERS.map((peer) =>
    contender(`${peer}, digest of each tag`, 'peer', () => [{ stage: 'lock', command: peers.resolve(site, peer), registry }]),
  ),
  contender('ours: lock', 'ours', () => [{ stage: 'lock', command: ours.lock(site), registry }]),
  contender('ours: lock --check', 'ours', () => [{ stage: 'lock', command: ours.checkLock(site), registry }]),
];

export function pulling({ site, registry }: Origin): readonly Contender[] {
  const twice = (command: Step['command'], again = command): readonly Step[] => [
    { stage: 'pull', command, registry },
    { stage: 'pull again', command: again, registry },
  ];
  const signed = (to: string) => ours.pull(site, to, KEY);
  return [
    contender('curl, 8 at once, no hash', 'floor', (_, to) => [{ stage: 'pull', command: peers.curlBlobs(site, to), registry }]),
    ...PULLERS.map((peer) => contender(peer, 'peer', (_, to) => twice(peers.pull(site, peer, to)))),
    contender('ours: lock, pull --key', 'ours', (_, to) => twice(ours.lockAndPull(site, to), signed(to))),
    contender('ours: pull --key', 'ours', (_, to) => [{ stage: 'pull', command: signed(to), registry }]),
    contender('ours: pull --unsigned', 'ours', (_, to) => [
      { stage: 'pull', command: ours.pull(site, to, ['--unsigned']), registry },
    ]),
  ];
}

/** Of images that their upstream has signed: with and without verifying that. */
export const pullingSigned = ({ site, registry }: Origin): readonly Contender[] =>
  (['signed', 'verified'] as const).map((name) =>
    contender(`ours: pull --key${name === 'verified' ? ', verify: key' : ''}`, name === 'verified' ? 'ours' : 'peer', (_, to) => [
      { stage: 'pull signed', command: ours.pull(site, to, KEY, name), registry },
    ]),
  );

export const verifying = ({ site }: Origin, bundle: string): readonly Contender[] => [
  contender('sha256sum', 'floor', () => [{ stage: 'verify', command: peers.sha256sum(bundle, 'one') }]),
  contender('sha256sum, one per core', 'peer', () => [{ stage: 'verify', command: peers.sha256sum(bundle, 'one per core') }]),
  contender('ours: verify', 'ours', () => [{ stage: 'verify', command: ours.verify(site, bundle) }]),
];

/** Each round into a fresh registry: what is there already would not be pushed. */
export function loading({ site }: Origin, bundle: string): readonly Contender[] {
  const twice =
    (make: (target: string, fresh: string) => Step['command']): Contender['round'] =>
    async (scope, fresh) => {
      const registry = await startRegistry(scope, { kind: 'distribution 2.8' });
      const command = make(registry.host, fresh);
      return [
        { stage: 'load', command, registry },
        { stage: 'load again', command, registry },
      ];
    };
  return [
    ...PUSHERS.map((peer) =>
      contender(
        peer,
        'peer',
        twice((target) => peers.push(site, peer, bundle, target)),
      ),
    ),
    contender(
      'ours: load',
      'ours',
      twice((target, fresh) => ours.load(site, bundle, target, join(fresh, 'state'))),
    ),
  ];
}
