import { isMap, isSeq, LineCounter, type ParsedNode, type YAMLMap } from 'yaml';
import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { printable } from '../core/printable.ts';
import { parseDeep } from '../manifest/parse-deep.ts';
import {
  type Mirror,
  NO_REGISTRIES,
  type Registries,
  type RegistryAuth,
  type RegistryConfig,
  type RegistryTls,
} from './registries.ts';
import { createYamlReader, type YamlReader } from './yaml-reader.ts';

export type ParsedRegistries = Readonly<{
  text: string;
  registries: Registries;
  /** The top mapping, undefined in a file without content. */
  root: YAMLMap.Parsed | undefined;
  /** Where values that must not be shown stand in `text`. */
  secrets: readonly (readonly [start: number, end: number])[];
  /** `file:line:column` of an entry, or just `file`. */
  placeOf: (section: 'mirrors' | 'configs', key: string) => string;
}>;

const SHOWN_FAULTS = 10;
// Line breaks or forbidden in YAML 1.1 and not in YAML 1.2, or the other way round.
const ODD_CHARACTER = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u2028\u2029\ufffe\uffff]|\r(?!\n)|(?!^)\ufeff/;

function readMirror(reader: YamlReader, node: ParsedNode | null, what: string): Mirror {
  const found = reader.fields(node, what, ['endpoint', 'rewrite']);
  const list = found.get('endpoint') ?? null;
  const endpoint: string[] = [];
  if (list !== null && reader.isPlainNode(list, `${what}.endpoint`)) {
    if (!isSeq(list)) reader.fault(list, `${what}.endpoint is not a list: k3s would not start`);
    else
      for (const item of list.items as ParsedNode[]) {
        const url = reader.text(item, `an endpoint of ${what}`);
        if (url === undefined || url === '') reader.fault(item ?? list, `${what}.endpoint has an empty entry`);
        else endpoint.push(url);
      }
  }
  const rules = reader.entries(found.get('rewrite') ?? null, `${what}.rewrite`);
  const rewrite = Object.fromEntries(
    rules.map((rule) => [rule.key, reader.text(rule.value ?? undefined, `${what}.rewrite`) ?? '']),
  );
  return { endpoint, ...(rules.length === 0 ? {} : { rewrite }) };
}

function readAuth(reader: YamlReader, node: ParsedNode | null, what: string): RegistryAuth {
  const found = reader.fields(node, what, ['username', 'password', 'auth', 'identity_token']);
  const auth: Record<string, string> = {};
  for (const [name, value] of found) {
    const text = reader.text(value, `${what}.${name}`, name !== 'username');
    if (text !== undefined) auth[name] = text;
  }
  return auth;
}

function readTls(reader: YamlReader, node: ParsedNode, what: string): RegistryTls {
  const found = reader.fields(node, what, ['ca_file', 'cert_file', 'key_file', 'insecure_skip_verify']);
  const tls: { -readonly [K in keyof RegistryTls]: RegistryTls[K] } = {};
  for (const name of ['ca_file', 'cert_file', 'key_file'] as const) {
    const text = reader.text(found.get(name), `${what}.${name}`);
    if (text !== undefined && text !== '') tls[name] = text;
  }
  if (reader.flag(found.get('insecure_skip_verify'), `${what}.insecure_skip_verify`)) tls.insecure_skip_verify = true;
  if ((tls.cert_file === undefined) !== (tls.key_file === undefined)) {
    const [there, missing] = tls.cert_file === undefined ? ['key_file', 'cert_file'] : ['cert_file', 'key_file'];
    reader.fault(node, `${what} has ${there} without ${missing}`);
  }
  return tls;
}

function readConfig(reader: YamlReader, node: ParsedNode | null, what: string): RegistryConfig {
  const found = reader.fields(node, what, ['auth', 'tls']);
  const auth = found.get('auth');
  const tls = found.get('tls');
  return {
    ...(auth === undefined ? {} : { auth: readAuth(reader, auth, `${what}.auth`) }),
    ...(tls === undefined ? {} : { tls: readTls(reader, tls, `${what}.tls`) }),
  };
}

function readSection<T>(
  reader: YamlReader,
  node: ParsedNode | undefined,
  section: string,
  read: typeof readMirror | typeof readConfig,
) {
  const values = new Map<string, T>();
  for (const { key, node: keyNode, value } of reader.entries(node ?? null, section)) {
    const what = `${section}.${JSON.stringify(key.slice(0, 100))}`;
    // k3s puts the name between quotes in containerd's config.toml as it is.
    if (key === '' || /[\s"'\\\u0000-\u001f\u007f]/.test(key)) reader.fault(keyNode, `${what} is not a registry name`);
    reader.places.set(`${section} ${key}`, keyNode.range[0]);
    values.set(key, read(reader, value, what) as T);
  }
  return values;
}

/**
 * Reads registries.yaml more strictly than k3s does, so that what k3s would drop silently or die of is found before it is written.
 * Scalars are taken as text and given types as k3s's YAML 1.1 reader would.
 * @throws BundleError E_MIRRORS with file:line:column of every fault
 */
export function parseRegistriesYaml(text: string, file: string): ParsedRegistries {
  const size = Buffer.byteLength(text);
  if (size > LIMITS.registriesYamlBytes) {
    throw new BundleError('E_MIRRORS', `${file} has ${size} bytes, more than the limit of ${LIMITS.registriesYamlBytes}`);
  }
  const counter = new LineCounter();
  // Duplicate keys are looked for below: the library's own search compares each key with each.
  const document = parseDeep(text, { schema: 'failsafe', prettyErrors: false, uniqueKeys: false, lineCounter: counter });
  const place = (offset: number): string => {
    const { line, col } = counter.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const reader = createYamlReader(text);
  if (document === undefined) reader.faults.push({ offset: 0, why: 'nested too deep' });
  for (const { pos, message } of document?.errors ?? [])
    reader.faults.push({ offset: pos[0], why: message.split('\n')[0] as string });
  const odd = text.search(ODD_CHARACTER);
  if (odd !== -1) {
    const code = text.charCodeAt(odd).toString(16).toUpperCase().padStart(4, '0');
    reader.faults.push({ offset: odd, why: `the character U+${code} is not allowed: YAML readers disagree about it` });
  }
  const version = document?.directives?.yaml;
  if (version?.explicit && version.version !== '1.1')
    reader.faults.push({ offset: 0, why: `k3s refuses %YAML ${version.version}` });
  let registries = NO_REGISTRIES;
  const top = (document?.contents ?? null) as ParsedNode | null;
  if (reader.faults.length === 0) {
    const found = reader.fields(top, 'the file', ['mirrors', 'configs', 'auths']);
    registries = {
      mirrors: readSection<Mirror>(reader, found.get('mirrors'), 'mirrors', readMirror),
      configs: readSection<RegistryConfig>(reader, found.get('configs'), 'configs', readConfig),
    };
    for (const { key, value } of reader.entries(found.get('auths') ?? null, 'auths')) readAuth(reader, value, `auths.${key}`);
  }
  if (reader.faults.length > 0) throw faultError(reader.faults, place, file);
  return {
    text,
    registries,
    root: isMap(top) ? (top as YAMLMap.Parsed) : undefined,
    secrets: reader.secrets,
    placeOf: (section, key) => {
      const offset = reader.places.get(`${section} ${key}`);
      return offset === undefined ? file : place(offset);
    },
  };
}

function faultError(
  faults: readonly { offset: number; why: string }[],
  place: (offset: number) => string,
  file: string,
): BundleError {
  const shown = faults.slice(0, SHOWN_FAULTS).map(({ offset, why }) => `${place(offset)}: ${printable(why, 300)}`);
  if (faults.length > shown.length) shown.push(`${file}: and ${faults.length - shown.length} more`);
  return new BundleError('E_MIRRORS', shown.join('\n'), {
    origin: 'host',
    hint: `correct ${file}; nothing was written`,
  });
}
