import type { Mirror, RegistryAuth, RegistryConfig } from './registries.ts';

// Beyond JSON's own escapes: what YAML 1.1 readers refuse or take for line breaks.
const ODD = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** A double-quoted scalar: no reader can take it for a number, a boolean, null, a comment or a second key. */
export const yamlString = (value: string): string =>
  JSON.stringify(value).replace(ODD, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Names with a dot that start with a letter are strings to every reader; all others are quoted (`*`, `node-1:5000`, `[::1]:5000`, `on`). */
const yamlKey = (name: string): string => (/^[a-z][a-z0-9-]*(?:\.[a-z0-9-]*[a-z])+$/.test(name) ? name : yamlString(name));

const AUTH_FIELDS = ['username', 'password', 'auth', 'identity_token'] as const satisfies readonly (keyof RegistryAuth)[];
const TLS_FILES = ['ca_file', 'cert_file', 'key_file'] as const;

/** One entry of `mirrors` in block style. `indent` stands before its first line; lines end with "\n". */
export function mirrorText(name: string, mirror: Mirror, indent: string): string {
  const lines = [`${yamlKey(name)}:`, '  endpoint:', ...mirror.endpoint.map((url) => `    - ${yamlString(url)}`)];
  if (mirror.rewrite !== undefined) {
    lines.push('  rewrite:', ...Object.entries(mirror.rewrite).map(([from, to]) => `    ${yamlString(from)}: ${yamlString(to)}`));
  }
  return lines.map((line) => `${indent}${line}\n`).join('');
}

/** One entry of `configs` in block style. */
export function configText(name: string, { auth, tls }: RegistryConfig, indent: string): string {
  const lines = [`${yamlKey(name)}:`];
  if (auth !== undefined) {
    const fields = AUTH_FIELDS.flatMap((field) =>
      auth[field] === undefined ? [] : [`    ${field}: ${yamlString(auth[field])}`],
    );
    lines.push('  auth:', ...fields);
  }
  if (tls !== undefined) {
    lines.push('  tls:');
    for (const field of TLS_FILES) if (tls[field] !== undefined) lines.push(`    ${field}: ${yamlString(tls[field])}`);
    if (tls.insecure_skip_verify) lines.push('    insecure_skip_verify: true');
  }
  return lines.map((line) => `${indent}${line}\n`).join('');
}
