import { BundleError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

/** User name → bcrypt hash. A map, because names come from a file. */
export type Htpasswd = ReadonlyMap<string, string>;

const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;
/** Below 4 there is no bcrypt; above 14 one check takes seconds, and a registry that checks for seconds serves nobody. */
const [LEAST_COST, MOST_COST] = [4, 14];

const invalid = (what: string, line: number, why: string, hint?: string): BundleError =>
  new BundleError('E_USAGE', `${what}:${line}: ${why}`, { origin: 'host', hint });

/**
 * Apache's format as CNCF distribution takes it: `name:hash` a line, bcrypt alone, blank lines and `#` comments passed over. Lines are named in
 * errors, hashes never.
 * @param what the file's name for messages
 * @throws BundleError E_USAGE
 */
export function parseHtpasswd(text: string, what: string): Htpasswd {
  const users = new Map<string, string>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '');
    if (line.trim() === '' || line.startsWith('#')) continue;
    const number = index + 1;
    const colon = line.indexOf(':');
    if (colon === -1) throw invalid(what, number, 'there is no ":" between a name and a hash');
    const [name, hash] = [line.slice(0, colon), line.slice(colon + 1).trimEnd()];
    checkUserName(name, (why) => invalid(what, number, why));
    const cost = Number(BCRYPT.exec(hash)?.[1]);
    if (Number.isNaN(cost)) {
      const hint = `only bcrypt is taken: "htpasswd -B", or: bundle serve --htpasswd ${what} --add-user ${name}`;
      throw invalid(what, number, `the hash of ${JSON.stringify(name)} is not bcrypt ($2a$, $2b$ or $2y$)`, hint);
    }
    if (cost < LEAST_COST || cost > MOST_COST)
      throw invalid(what, number, `bcrypt cost ${cost} of ${JSON.stringify(name)} is not from ${LEAST_COST} to ${MOST_COST}`);
    if (users.has(name)) throw invalid(what, number, `${JSON.stringify(name)} is there a second time`);
    users.set(name, hash);
    if (users.size > LIMITS.users) throw invalid(what, number, `more than ${LIMITS.users} users`);
  }
  return users;
}

/** RFC 7617: a name has no ":"; control characters have no business in one. @throws what `fail` makes */
export function checkUserName(name: string, fail: (why: string) => Error): void {
  if (name === '') throw fail('the user name is empty');
  if (name.length > LIMITS.userNameChars) throw fail(`a user name of more than ${LIMITS.userNameChars} characters`);
  if (/[\u0000-\u001f\u007f-\u009f:\ufffd]/.test(name) || name !== name.trim() || name.startsWith('#'))
    throw fail('the user name begins with "#", has blanks around it, a ":", a control character, or is not UTF-8');
}

/** The text with the line of `name` replaced where it stands, or added at the end; everything else stays as it is. */
export function withUser(text: string, name: string, hash: string): string {
  const line = `${name}:${hash}`;
  const lines = text === '' ? [] : text.replace(/\n$/, '').split('\n');
  const at = lines.findIndex((each) => each.startsWith(`${name}:`));
  if (at === -1) lines.push(line);
  else lines[at] = line;
  return `${lines.join('\n')}\n`;
}
