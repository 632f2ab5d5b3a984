import type { Route } from './route.ts';

export type Action = 'pull' | 'push' | 'delete';
export type Need = Readonly<{ repository: string; action: Action }>;

/** What the sender of one request may do. */
export type Grant = Readonly<{
  may(repository: string, action: Action): boolean;
  /** True when nothing is held back from this client, so that even blobs of unnamed repositories may be used. */
  everywhere: boolean;
  /** Who logged in, for the access log. */
  user?: string;
}>;

export const UNLIMITED: Grant = { may: () => true, everywhere: true };

export const isReading = (method: string): boolean => method === 'GET' || method === 'HEAD';

function actionsOf(route: Route, method: string): readonly Action[] {
  if (isReading(method) && route.kind !== 'upload') return ['pull'];
  // Cancelling an upload undoes a push; everything else that is deleted was pushed by somebody.
  if (method === 'DELETE' && route.kind !== 'upload') return ['delete'];
  return ['pull', 'push'];
}

/** What a request needs, and what it can use (`wanted`): a mount without access to its source becomes an upload. */
export function needsOf(route: Route, method: string, query: URLSearchParams): { needed: Need[]; wanted: Need[] } {
  if (!('repository' in route)) return { needed: [], wanted: [] };
  const needed = actionsOf(route, method).map((action) => ({ repository: route.repository, action }));
  const from = route.kind === 'uploads' && query.has('mount') ? query.get('from') : null;
  return { needed, wanted: from === null ? needed : [...needed, { repository: from, action: 'pull' }] };
}

/** `repository:a/b:pull,push repository:c:pull` (distribution "Token Scope"). */
export function formatScope(needs: readonly Need[]): string {
  const actions = new Map<string, Action[]>();
  for (const { repository, action } of needs) actions.set(repository, [...(actions.get(repository) ?? []), action]);
  return [...actions].map(([repository, list]) => `repository:${repository}:${list.join(',')}`).join(' ');
}

const ALL: readonly Action[] = ['pull', 'push', 'delete'];

/** The reverse; what is not a repository scope asks for nothing here. `*` is every action. */
export function parseScope(text: string): Need[] {
  return text.split(' ').flatMap((part) => {
    const match = /^repository(?:\([a-z0-9]+\))?:(.+):([a-z*,]*)$/.exec(part);
    if (match === null) return [];
    const asked = (match[2] as string).split(',');
    return ALL.filter((action) => asked.includes(action) || asked.includes('*')).map((action) => ({
      repository: match[1] as string,
      action,
    }));
  });
}
