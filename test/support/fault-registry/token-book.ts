/** The tokens that were given out, and what each is good for. They are opaque on purpose. */
import { randomBytes } from 'node:crypto';

export type Access = ReadonlyMap<string, ReadonlySet<string>>;
export type Token = Readonly<{ user: string | undefined; access: Access; until: number }>;

/** Access to everything: what scope `*` or `aws` gives. */
export const EVERYTHING = '*';

export type TokenBook = ReturnType<typeof createTokenBook>;

export function createTokenBook() {
  const tokens = new Map<string, Token>();
  let validFrom = 0;
  let serial = 0;
  const serials = new Map<string, number>();
  return {
    /** @param lifeMs how long it is honoured */
    issue(user: string | undefined, access: Access, lifeMs: number): string {
      const value = `tok-${randomBytes(18).toString('base64url')}`;
      tokens.set(value, { user, access, until: performance.now() + lifeMs });
      serials.set(value, ++serial);
      return value;
    },
    /** undefined for a token that is unknown or no longer good */
    find(value: string): Token | undefined {
      const token = tokens.get(value);
      if (token === undefined || token.until <= performance.now() || (serials.get(value) ?? 0) <= validFrom) return undefined;
      return token;
    },
    expireAll(): void {
      validFrom = serial;
    },
    values: (): string[] => [...tokens.keys()],
    get count(): number {
      return serial;
    },
  };
}

export const allows = (access: Access, repository: string, action: string): boolean =>
  [repository, EVERYTHING].some((name) => access.get(name)?.has(action) === true);
