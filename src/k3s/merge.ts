import { BundleError } from '../core/errors.ts';
import { editRegistriesYaml } from './edit-registries.ts';
import {
  type Mirror,
  type Registries,
  type RegistryAuth,
  type RegistryConfig,
  type RegistryTls,
  sameValue,
} from './registries.ts';
import { type ParsedRegistries, parseRegistriesYaml } from './registries-yaml.ts';
import { authHash, NOTHING_WRITTEN, type Written, type WrittenConfig } from './written.ts';
import { yamlString } from './yaml-text.ts';

export type MergeInput = Readonly<{
  /** Text of the file on the node; undefined when there is none. */
  existing: string | undefined;
  /** Its path, for messages. */
  file: string;
  bundle: string;
  /** What we wrote last, by bundle name, from the state. */
  written: Readonly<Record<string, Written>>;
  desired: Registries;
  /** Take ours where somebody else's entry differs. */
  force?: boolean;
}>;

export type MergeResult = Readonly<{
  text: string;
  changed: boolean;
  /** The new record of this bundle for the state. */
  written: Written;
  /** `mirrors.docker.io`, `configs.node-1:5000.tls`, ... that were added, replaced or taken out. */
  changes: readonly string[];
}>;

type Conflict = Readonly<{ place: string; what: string; theirs: string; ours: string; owner: string | undefined }>;

/** One value that is merged as a whole. `theirs` and the records are in the form that the state keeps (a hash for logins). */
type Unit = Readonly<{
  ours: unknown;
  theirs: unknown;
  base: unknown;
  /** Other bundles that wrote this name, with their values. */
  others: readonly (readonly [bundle: string, value: unknown])[];
}>;

/** `keep` leaves the file's value, `ours` puts ours in, `drop` takes the value out; `own` says whether it is ours from now on. */
type Verdict = Readonly<{ act: 'keep' | 'ours' | 'drop'; own: boolean } | { act: 'conflict'; owner: string | undefined }>;

function judge({ ours, theirs, base, others }: Unit, force: boolean): Verdict {
  const wroteIt = base !== undefined && sameValue(base, theirs);
  if (ours === undefined) {
    // Gone from this bundle: taken out only if it is still what we wrote and nobody else needs it.
    return { act: wroteIt && others.length === 0 ? 'drop' : 'keep', own: false };
  }
  if (theirs === undefined) return { act: 'ours', own: true };
  if (sameValue(ours, theirs))
    return { act: 'keep', own: base !== undefined || others.some(([, value]) => sameValue(value, theirs)) };
  if (wroteIt || force) return { act: 'ours', own: true };
  return { act: 'conflict', owner: others.find(([, value]) => sameValue(value, theirs))?.[0] };
}

const HEADER = `# Read by k3s when it starts. "bundle" changes the entries that it wrote and leaves all others alone.\n`;

const own = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined;

const defined = <T>(value: T | undefined): value is T => value !== undefined;

const shownMirror = (mirror: Mirror): string =>
  `{endpoint: [${mirror.endpoint.map(yamlString).join(', ')}]${mirror.rewrite ? ', rewrite: ...' : ''}}`;
const shownTls = (tls: RegistryTls): string =>
  `{${Object.entries(tls)
    .map(([key, value]) => `${key}: ${typeof value === 'string' ? yamlString(value) : value}`)
    .join(', ')}}`;

function createMerge(input: MergeInput, parsed: ParsedRegistries) {
  const base = own(input.written, input.bundle) ?? NOTHING_WRITTEN;
  const others = Object.entries(input.written).filter(([name]) => name !== input.bundle);
  const force = input.force ?? false;
  const conflicts: Conflict[] = [];
  const changes: string[] = [];

  /** Gives the value that stands in the file afterwards, and whether this bundle owns it. */
  function settle<T>(
    unit: Unit,
    ours: T | undefined,
    theirs: T | undefined,
    conflict: Omit<Conflict, 'owner'>,
  ): [T | undefined, boolean] {
    const verdict = judge(unit, force);
    if (verdict.act === 'conflict') {
      conflicts.push({ ...conflict, owner: verdict.owner });
      return [theirs, false];
    }
    if (verdict.act !== 'keep') changes.push(conflict.what);
    return [verdict.act === 'ours' ? ours : verdict.act === 'drop' ? undefined : theirs, verdict.own];
  }

  function mirror(name: string): [Mirror | undefined, boolean] {
    const ours = input.desired.mirrors.get(name);
    const found = parsed.registries.mirrors.get(name);
    // `docker.io:` alone asks for k3s's embedded registry only; our endpoints go well with it.
    const theirs = found?.endpoint.length === 0 && found.rewrite === undefined ? undefined : found;
    const unit = {
      ours,
      theirs,
      base: own(base.mirrors, name),
      others: others.flatMap(([bundle, { mirrors }]) => (Object.hasOwn(mirrors, name) ? [[bundle, mirrors[name]] as const] : [])),
    };
    const shown = { theirs: theirs ? shownMirror(theirs) : '', ours: ours ? shownMirror(ours) : '' };
    const settled = settle(unit, ours, theirs, { place: parsed.placeOf('mirrors', name), what: `mirrors.${name}`, ...shown });
    return theirs === undefined && ours === undefined ? [found, false] : settled;
  }

  function configField<T extends RegistryAuth | RegistryTls>(
    name: string,
    field: 'auth' | 'tls',
    key: (value: T) => unknown,
    show: (value: T) => string,
  ) {
    const ours = input.desired.configs.get(name)?.[field] as T | undefined;
    const found = parsed.registries.configs.get(name)?.[field] as T | undefined;
    const theirs = found !== undefined && Object.keys(found).length > 0 ? found : undefined;
    const recorded = (configs: Readonly<Record<string, WrittenConfig>>): unknown => own(configs, name)?.[field];
    const unit: Unit = {
      ours: ours && key(ours),
      theirs: theirs && key(theirs),
      base: recorded(base.configs),
      others: others.map(([bundle, { configs }]) => [bundle, recorded(configs)] as const).filter(([, value]) => defined(value)),
    };
    const shown = { theirs: theirs ? show(theirs) : '', ours: ours ? show(ours) : '' };
    return settle(unit, ours, theirs, { place: parsed.placeOf('configs', name), what: `configs.${name}.${field}`, ...shown });
  }

  function config(name: string): [RegistryConfig | undefined, WrittenConfig] {
    const [auth, ownAuth] = configField<RegistryAuth>(
      name,
      'auth',
      authHash,
      (value) => `{username: ${yamlString(value.username ?? '')}, (hidden)}`,
    );
    const [tls, ownTls] = configField<RegistryTls>(name, 'tls', (value) => value, shownTls);
    const value = { ...(auth === undefined ? {} : { auth }), ...(tls === undefined ? {} : { tls }) };
    const wasEmpty = sameValue(parsed.registries.configs.get(name), {});
    const record = { ...(auth && ownAuth ? { auth: authHash(auth) } : {}), ...(tls && ownTls ? { tls } : {}) };
    return [Object.keys(value).length > 0 || wasEmpty ? value : undefined, record];
  }

  return { base, conflicts, changes, mirror, config };
}

const namesOf = (...sources: Iterable<string>[]): string[] =>
  [...new Set(sources.flatMap((names) => [...names]))].sort((a, b) => (a < b ? -1 : 1));

/**
 * Merges what a bundle needs into registries.yaml, three ways: what we wrote last, what stands there, what we want. Others' entries and
 * comments stay; the second run changes nothing. Pure: nothing is written.
 * @throws BundleError E_MIRRORS (the file can't be read strictly), E_MIRRORS_CONFLICT (somebody else's value for a name that we need)
 */
export function mergeRegistries(input: MergeInput): MergeResult {
  const { desired, file } = input;
  const start = input.existing ?? HEADER;
  const parsed = parseRegistriesYaml(start, file);
  const { registries } = parsed;
  const merge = createMerge(input, parsed);
  const mirrors = new Map<string, Mirror | undefined>();
  const configs = new Map<string, RegistryConfig | undefined>();
  const written = { mirrors: {} as Record<string, Mirror>, configs: {} as Record<string, WrittenConfig> };
  for (const name of namesOf(desired.mirrors.keys(), Object.keys(merge.base.mirrors))) {
    const [value, isOurs] = merge.mirror(name);
    if (!sameValue(value, registries.mirrors.get(name))) mirrors.set(name, value);
    if (isOurs && value !== undefined) written.mirrors[name] = value;
  }
  for (const name of namesOf(desired.configs.keys(), Object.keys(merge.base.configs))) {
    const [value, record] = merge.config(name);
    if (!sameValue(value, registries.configs.get(name))) configs.set(name, value);
    if (Object.keys(record).length > 0) written.configs[name] = record;
  }
  if (merge.conflicts.length > 0) throw conflictError(merge.conflicts, file);
  const text = editRegistriesYaml(parsed, { mirrors, configs }, file);
  const changed = text !== start;
  return { text: changed ? text : (input.existing ?? ''), changed, written, changes: merge.changes };
}

function conflictError(conflicts: readonly Conflict[], file: string): BundleError {
  const parts = conflicts.map(({ place, what, theirs, ours, owner }) => {
    const who = owner === undefined ? 'somebody else' : `bundle "${owner}"`;
    return `${place}: ${what} was written by ${who} and differs from what this bundle needs\n  - ${theirs}\n  + ${ours}`;
  });
  return new BundleError('E_MIRRORS_CONFLICT', parts.join('\n'), {
    origin: 'host',
    hint: `take the entries out of ${file}, or run again with --force to put ours in their place (the old file is kept beside it)`,
    detail: { conflicts: conflicts.map(({ what }) => what) },
  });
}
