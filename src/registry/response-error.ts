import { BundleError, type ErrorCode } from '../core/errors.ts';
import { isObject } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';
import { readAll } from '../core/verified.ts';
import type { HttpResponse } from './transport.ts';

export type RegistryFault = Readonly<{ status: number; codes: readonly string[]; message: string }>;

/** Reads the error body of distribution-spec "Error Codes", or the start of whatever text came instead; never more than the limit. */
export async function readFault(response: HttpResponse): Promise<RegistryFault> {
  const text = await readAll(response.body, LIMITS.errorBodyBytes, 'error body').then(
    (bytes) => bytes.toString('utf8'),
    () => '',
  );
  try {
    const json: unknown = JSON.parse(text);
    const errors = isObject(json) && Array.isArray(json.errors) ? json.errors.filter(isObject) : [];
    const codes = errors.map((e) => String(e.code ?? '').toUpperCase()).filter((code) => code !== '');
    const message = errors
      .map((e) => [e.code, e.message].filter((part) => typeof part === 'string' && part !== '').join(': '))
      .join('; ');
    if (errors.length > 0) return { status: response.status, codes, message: printable(message) };
  } catch {
    // not JSON: shown as text below
  }
  return { status: response.status, codes: [], message: printable(text.startsWith('<') ? '' : text) };
}

const printable = (text: string): string =>
  text
    .replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ')
    .trim()
    .slice(0, 300);

/** The error that a person sees for a refused request. */
export function faultError(fault: RegistryFault, what: string): BundleError {
  const said = fault.message === '' ? '' : `: ${fault.message}`;
  const make = (code: ErrorCode, text: string, hint?: string): BundleError =>
    new BundleError(code, `${what}: ${text} (HTTP ${fault.status})${said}`, {
      hint,
      detail: { status: fault.status, codes: fault.codes },
    });
  if (fault.status === 404 && fault.codes.includes('NAME_UNKNOWN'))
    return make('E_NOT_FOUND', 'no such repository', 'some registries (ECR) want the repository made first');
  if (fault.status === 404) return make('E_NOT_FOUND', 'not found');
  if (fault.status === 401 || fault.status === 403)
    return make('E_AUTH', 'missing or not allowed', 'log in with docker, podman or oras login, or check the name');
  if (fault.status === 429)
    return make(
      'E_RATE_LIMIT',
      'the registry limits requests',
      'log in for a higher limit, or run again later; what was fetched is kept',
    );
  if (fault.status === 413) return make('E_REGISTRY', 'too large for this registry');
  return make('E_REGISTRY', 'the registry refused');
}
