import { BundleError, isBundleError } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { FileSystem } from '../../files/file-system.ts';
import type { AuthOptions } from '../../serve/authenticator.ts';
import { type Htpasswd, parseHtpasswd } from '../../serve/htpasswd.ts';
import { createLoginCheck } from '../../serve/login-check.ts';
import { parsePushRight, rightsOf } from '../../serve/rights.ts';
import type { Context } from '../context.ts';
import type { Args } from '../options.ts';

export type Users = Readonly<{
  auth: AuthOptions;
  names: readonly string[];
  /** Takes a changed file; a broken one is told once, and what was there before stays. */
  refresh(): Promise<void>;
}>;

/** Who may log in and do what; undefined when nobody need log in. @throws BundleError E_USAGE */
export async function usersFor(args: Args, { fs, now }: Context, warn: (text: string) => void): Promise<Users | undefined> {
  const path = args.htpasswd;
  const rights = (args.push ?? []).map(parsePushRight);
  if (path === undefined) {
    const needing = (['push', 'anonymous-pull'] as const).find((name) => args[name]);
    if (needing !== undefined)
      throw new BundleError('E_USAGE', `--${needing} says nothing without --htpasswd: nobody can log in`);
    return undefined;
  }
  let text = await readHtpasswd(fs, path);
  let refused = '';
  let complaint = '';
  let users = parseHtpasswd(text, path);
  for (const { user } of rights)
    if (user !== '*' && !users.has(user))
      throw new BundleError('E_USAGE', `--push: there is no user ${JSON.stringify(user)} in ${path}`);
  if (users.size === 0) warn(`${path} has no user in it: nobody can log in`);
  const { compare } = await import('bcryptjs');
  const access = {
    users: createLoginCheck({ users: (): Htpasswd => users, compare, now }),
    anonymousPull: args['anonymous-pull'] ?? false,
    may: rightsOf(rights),
    readsEverything: true,
  };
  return {
    names: [...users.keys()],
    auth: access.anonymousPull ? { ...access, kind: 'mixed', refreshTokens: false } : { ...access, kind: 'basic' },
    async refresh() {
      try {
        const next = await readHtpasswd(fs, path);
        if (next === text || next === refused) return;
        refused = next; // until it has proven good
        users = parseHtpasswd(next, path);
        text = next;
        [refused, complaint] = ['', ''];
      } catch (error) {
        if (!isBundleError(error)) throw error;
        if (error.message !== complaint) warn(`${error.message}; the users from before stay`);
        complaint = error.message;
      }
    },
  };
}

/** @throws BundleError E_USAGE */
export async function readHtpasswd(fs: FileSystem, path: string): Promise<string> {
  try {
    const bytes = await fs.readUserFile(path, LIMITS.htpasswdBytes);
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    const why = error instanceof TypeError ? 'it is not UTF-8' : (error as Error).message;
    throw new BundleError('E_USAGE', `${path} can't be read: ${why}`, {
      cause: error,
      hint: `to make it: bundle serve --htpasswd ${path} --add-user NAME`,
    });
  }
}
