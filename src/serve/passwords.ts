import { createHash, timingSafeEqual } from 'node:crypto';
import { type Action, type Grant, UNLIMITED } from './access.ts';

export type AccessRules = Readonly<{
  /** User name → password. */
  users: Readonly<Record<string, string>>;
  /** Pulls need no credentials. */
  anonymousPull?: boolean;
  /** What a known user may do; everything when absent. */
  may?: (user: string, repository: string, action: Action) => boolean;
}>;

export type Login = Readonly<{ user: string; password: string }>;

/** `Basic base64(user:password)` (RFC 7617); undefined when the header is not of that form. */
export function parseBasic(header: string | undefined): Login | undefined {
  const encoded = /^Basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header ?? '')?.[1];
  if (encoded === undefined) return undefined;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) };
}

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Compares in the same time whatever the guess. */
export function isKnown(rules: AccessRules, login: Login): boolean {
  const password = Object.hasOwn(rules.users, login.user) ? rules.users[login.user] : undefined;
  return timingSafeEqual(hash(login.password), hash(password ?? '')) && password !== undefined;
}

/** @param user undefined for one who gave no credentials */
export function grantOf(rules: AccessRules, user: string | undefined): Grant {
  if (user === undefined) return { may: (_, action) => rules.anonymousPull === true && action === 'pull', everywhere: false };
  const { may } = rules;
  return may === undefined ? UNLIMITED : { may: (repository, action) => may(user, repository, action), everywhere: false };
}
