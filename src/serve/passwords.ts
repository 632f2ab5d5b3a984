import { createHash, timingSafeEqual } from 'node:crypto';
import { type Action, type Grant, UNLIMITED } from './access.ts';

export type Login = Readonly<{ user: string; password: string }>;

/** Whether a login is right. @param peer address of the client @throws Refusal 429 when too many are being checked */
export type CheckLogin = (login: Login, peer: string) => Promise<boolean>;

export type AccessRules = Readonly<{
  /** User name → password, or what checks them. */
  users: Readonly<Record<string, string>> | CheckLogin;
  /** Pulls need no credentials. */
  anonymousPull?: boolean;
  /** What a known user may do; everything when absent. */
  may?: (user: string, repository: string, action: Action) => boolean;
  /** `may` holds nothing back from readers: a blob may be mounted whatever repository it is from. */
  readsEverything?: boolean;
}>;

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
export function isKnown({ users }: Readonly<{ users: Readonly<Record<string, string>> }>, login: Login): boolean {
  const password = Object.hasOwn(users, login.user) ? users[login.user] : undefined;
  return timingSafeEqual(hash(login.password), hash(password ?? '')) && password !== undefined;
}

/** @throws Refusal 429 */
export async function isRight({ users }: AccessRules, login: Login, peer: string): Promise<boolean> {
  return typeof users === 'function' ? users(login, peer) : isKnown({ users }, login);
}

/** @param user undefined for one who gave no credentials */
export function grantOf(rules: AccessRules, user: string | undefined): Grant {
  if (user === undefined) {
    const open = rules.anonymousPull === true;
    return { may: (_, action) => open && action === 'pull', everywhere: false };
  }
  const { may, readsEverything = false } = rules;
  if (may === undefined) return { ...UNLIMITED, user };
  return { may: (repository, action) => may(user, repository, action), everywhere: readsEverything, user };
}
