/** Runs the changes of one key one after the other, in the order of the calls; different keys run side by side. */
export function createTurns() {
  const last = new Map<string, Promise<unknown>>();
  return async function inTurn<T>(key: string, change: () => Promise<T>): Promise<T> {
    const turn = (last.get(key) ?? Promise.resolve()).then(change, change);
    last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (last.get(key) === turn) last.delete(key);
    }
  };
}

export type Turns = ReturnType<typeof createTurns>;
