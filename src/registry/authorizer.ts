import { BundleError } from '../core/errors.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { Clock } from './clock.ts';
import type { Credential, CredentialStore } from './credentials.ts';
import type { Endpoint } from './endpoint.ts';
import { createFirstTry, type FirstTry } from './first-try.ts';
import { checkRealm, mayReceiveCredentials } from './network-policy.ts';
import { basicHeader, fetchToken, type Token } from './token.ts';
import type { HttpResponse, Transport } from './transport.ts';

/** What a request needs: `repository:a/b:pull`, the one of the request itself first. */
export type Scopes = readonly string[];

export interface Authorizer {
  /** The header to send at once, known from earlier answers of this endpoint; undefined the first time. */
  header(endpoint: Endpoint, repository: string, scopes: Scopes, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * Called with a refusal (its body not yet read): a new header to try once more, or undefined when there is nothing better than what was sent.
   * @throws BundleError E_AUTH
   */
  answer(
    endpoint: Endpoint,
    repository: string,
    scopes: Scopes,
    refused: HttpResponse,
    sent: string | undefined,
    signal?: AbortSignal,
  ): Promise<string | undefined>;
  /** Told of every outcome of a header that was given out: `status` is undefined when no answer came. */
  learn(endpoint: Endpoint, sent: string | undefined, status: number | undefined): void;
  /** An anonymous answer to the challenge of a host that the registry redirected to; never with credentials. */
  answerElsewhere(host: URL, refused: HttpResponse, scopes: Scopes): Promise<string | undefined>;
  /** True when the token sent is past its stated life or 60 s: then even a 400 or 403 may mean "expired" (public ECR). */
  isOld(endpoint: Endpoint, scopes: Scopes, sent: string | undefined): boolean;
}

type TokenEntry = { promise: Promise<Token>; value?: Token };
type HostState = { challenge: Challenge | undefined; tokens: Map<string, TokenEntry>; passwords: FirstTry };

export type AuthorizerOptions = Readonly<{
  transport: Transport;
  credentials: CredentialStore;
  clock: Clock;
  allowRealms?: readonly string[];
}>;

export function createAuthorizer(options: AuthorizerOptions): Authorizer {
  const { transport, credentials, clock } = options;
  const hosts = new Map<string, HostState>();
  const stateOf = (endpoint: Endpoint): HostState => {
    let state = hosts.get(endpoint.base.origin);
    if (state === undefined) {
      state = { challenge: undefined, tokens: new Map(), passwords: createFirstTry() };
      hosts.set(endpoint.base.origin, state);
    }
    return state;
  };

  const credentialFor = (endpoint: Endpoint, repository: string): Promise<Credential | undefined> =>
    credentials.find(endpoint.login, `${endpoint.prefix}${repository}`);

  /** One token request per scope set at a time, however many blobs wait for it. `refused` is the header that was just turned down, if any. */
  async function token(
    endpoint: Endpoint,
    repository: string,
    challenge: Challenge,
    scopes: Scopes,
    signal: AbortSignal | undefined,
    refused: string | undefined,
  ): Promise<string> {
    const { tokens } = stateOf(endpoint);
    const key = scopes.join(' ');
    let entry = tokens.get(key);
    const known = entry?.value;
    // Another request may have renewed it since ours was sent: then its token is the answer, not one more.
    if (known !== undefined && (known.header === refused || known.expiresAt <= clock.now())) entry = undefined;
    if (entry === undefined) {
      const fresh: TokenEntry = { promise: request(endpoint, repository, challenge, scopes, signal) };
      entry = fresh;
      tokens.set(key, fresh);
      fresh.promise.then(
        (value) => {
          fresh.value = value;
        },
        () => tokens.delete(key),
      );
    }
    return (await entry.promise).header;
  }

  async function request(
    endpoint: Endpoint,
    repository: string,
    challenge: Challenge,
    scopes: Scopes,
    signal?: AbortSignal,
  ): Promise<Token> {
    const realm = parseRealm(challenge, endpoint.base);
    checkRealm(endpoint.base, realm);
    const credential = await credentialFor(endpoint, repository);
    if (credential?.kind === 'registry')
      return { header: `Bearer ${credential.token}`, issuedAt: clock.now(), expiresAt: Number.POSITIVE_INFINITY };
    if (credential !== undefined && !mayReceiveCredentials(endpoint.base, realm, options.allowRealms ?? []))
      throw foreignRealm(endpoint, realm, credential);
    const from = options.allowRealms?.includes(realm.host) ? undefined : endpoint.base;
    return fetchToken(transport, clock, { realm, from, service: challenge.parameters.service, scopes, credential, signal });
  }

  async function headerFor(
    endpoint: Endpoint,
    repository: string,
    challenge: Challenge,
    scopes: Scopes,
    signal: AbortSignal | undefined,
    refused: string | undefined,
  ) {
    if (challenge.scheme === 'bearer') return token(endpoint, repository, challenge, scopes, signal, refused);
    const credential = await credentialFor(endpoint, repository);
    if (credential?.kind === 'basic') {
      const header = basicHeader(credential);
      if (await stateOf(endpoint).passwords.mayUse(header, signal)) return header;
      throw await refusedCredential(endpoint, repository);
    }
    if (credential?.kind === 'registry') return `Bearer ${credential.token}`;
    throw new BundleError('E_AUTH', `${endpoint.login} asks for a user and a password (Basic), and none were found for it`, {
      hint: 'log in with docker, podman, oras or skopeo login, or name a file with --authfile',
    });
  }

  async function pingChallenge(endpoint: Endpoint, signal?: AbortSignal): Promise<Challenge | undefined> {
    const response = await transport.send({ method: 'GET', url: new URL('/v2/', endpoint.base), signal });
    const lines = response.status === 401 ? response.headerLines('www-authenticate') : [];
    await response.discard();
    return pick(parseChallenges(lines));
  }

  async function refusedCredential(endpoint: Endpoint, repository: string): Promise<BundleError> {
    const from = (await credentialFor(endpoint, repository))?.from ?? 'nowhere';
    return new BundleError(
      'E_AUTH',
      `${endpoint.origin}/${repository}: the registry refuses the credentials that come from ${from}`,
      {
        hint: 'log in again, or log out if the image is public',
        detail: { status: 401 },
      },
    );
  }

  return {
    async header(endpoint, repository, scopes, signal) {
      const { challenge } = stateOf(endpoint);
      return challenge === undefined ? undefined : headerFor(endpoint, repository, challenge, scopes, signal, undefined);
    },
    async answer(endpoint, repository, scopes, refused, sent, signal) {
      const state = stateOf(endpoint);
      const offered = refused.status === 401 ? pick(parseChallenges(refused.headerLines('www-authenticate'))) : undefined;
      await refused.discard();
      // The first challenge of a host stays: later refusals can name Basic (Harbor) or a dead-end realm (nvcr.io) for an expired token.
      const first = state.challenge;
      state.challenge ??= offered ?? (await pingChallenge(endpoint, signal));
      if (state.challenge === undefined) {
        throw new BundleError('E_AUTH', `${endpoint.origin} refuses (HTTP ${refused.status}) without saying how to log in`, {
          hint: 'check the repository name and the right to it',
        });
      }
      if (first?.scheme === 'basic' && sent !== undefined) throw await refusedCredential(endpoint, repository); // again would lock the account
      const asked = offered?.scheme === 'bearer' ? offered.parameters.scope : undefined;
      const wanted =
        sent !== undefined && asked?.startsWith('repository:') && !scopes.includes(asked)
          ? [asked, ...scopes.filter((s) => s !== asked)]
          : scopes;
      const header = await headerFor(endpoint, repository, state.challenge, wanted, signal, sent);
      return header === sent ? undefined : header;
    },
    learn(endpoint, sent, status) {
      if (sent !== undefined) hosts.get(endpoint.base.origin)?.passwords.learn(sent, status);
    },
    async answerElsewhere(host, refused, scopes) {
      const challenge = pick(parseChallenges(refused.headerLines('www-authenticate')));
      await refused.discard();
      if (challenge?.scheme !== 'bearer') return undefined;
      const realm = parseRealm(challenge, host);
      checkRealm(host, realm);
      const asked = challenge.parameters.scope;
      const token = await fetchToken(transport, clock, {
        realm,
        from: host,
        service: challenge.parameters.service,
        scopes: asked ? [asked] : scopes,
        credential: undefined,
      });
      return token.header;
    },
    isOld(endpoint, scopes, sent) {
      const token = stateOf(endpoint).tokens.get(scopes.join(' '))?.value;
      if (sent === undefined || token === undefined || token.header !== sent) return false;
      return clock.now() >= Math.min(token.expiresAt, token.issuedAt + 60_000);
    },
  };
}

/** Bearer where offered, else Basic; others (Negotiate, …) can't be answered. */
const pick = (challenges: readonly Challenge[]): Challenge | undefined =>
  challenges.find((c) => c.scheme === 'bearer' && c.parameters.realm !== undefined) ??
  challenges.find((c) => c.scheme === 'basic');

function parseRealm(challenge: Challenge, base: URL): URL {
  try {
    return new URL(challenge.parameters.realm ?? '');
  } catch (error) {
    throw new BundleError('E_AUTH', `${base.host} names a token service that is not a URL`, { cause: error });
  }
}

const foreignRealm = (endpoint: Endpoint, realm: URL, credential: Credential): BundleError =>
  new BundleError(
    'E_AUTH',
    `${endpoint.origin} sends its token requests to ${realm.host}, which is not known to belong to it; the credentials from ${credential.from} were not sent`,
    {
      hint: `if it does belong to it, say --allow-realm ${realm.host}`,
    },
  );
