import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { DigestAlgorithm } from './digest.ts';

/** `[hasher, algorithm, bytes]`; without bytes: the end, which is answered with the digest. Answers come in the order of the questions. */
type Question = readonly [hasher: number, algorithm: DigestAlgorithm, bytes?: Uint8Array];

type Thread = {
  readonly worker: Worker;
  readonly waiting: { resolve: (hex: string | undefined) => void; reject: (error: Error) => void }[];
  /** Hashers that are open here. */
  open: number;
};

/** One for each core: two transfers at once keep two busy. More than four bring nothing, the disk and the network end before. */
const THREADS = Math.min(availableParallelism(), 4);

/** The whole program of a thread. Its text is what is sent there, so it may use nothing from outside: a single executable has no second file to start from. */
function program(): void {
  const { parentPort } = process.getBuiltinModule('node:worker_threads');
  const { createHash } = process.getBuiltinModule('node:crypto');
  const hashers = new Map<number, import('node:crypto').Hash>();
  parentPort?.on('message', ([id, algorithm, bytes]: Question) => {
    const hasher = hashers.get(id) ?? createHash(algorithm);
    hashers.set(id, hasher);
    if (bytes !== undefined) {
      hasher.update(bytes);
      parentPort.postMessage(undefined);
      return;
    }
    hashers.delete(id);
    parentPort.postMessage(hasher.digest('hex'));
  });
}

const threads: Thread[] = [];
let serial = 0;

function startThread(): Thread {
  const worker = new Worker(`(${program.toString()})()`, {
    eval: true,
    env: {},
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 32 },
  });
  const thread: Thread = { worker, waiting: [], open: 0 };
  const fail = (error: Error): void => {
    threads.splice(threads.indexOf(thread), 1);
    for (const { reject } of thread.waiting.splice(0)) reject(error);
  };
  worker.on('message', (hex: string | undefined) => {
    thread.waiting.shift()?.resolve(hex);
    if (thread.waiting.length === 0) worker.unref();
  });
  worker.once('error', fail);
  worker.once('exit', (code) => fail(new Error(`the thread that hashes ended with ${code}`)));
  worker.unref();
  threads.push(thread);
  return thread;
}

function ask({ worker, waiting }: Thread, question: Question): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    if (waiting.length === 0) worker.ref(); // somebody waits: the process must not end meanwhile
    waiting.push({ resolve, reject });
    worker.postMessage(question);
  });
}

export type ThreadHasher = Readonly<{
  /** The bytes must stay as they are until the promise is kept. Those in shared memory are not copied. */
  update(bytes: Uint8Array): Promise<void>;
  /** lower-case hex */
  digest(): Promise<string>;
  /** In place of `digest`, when nobody wants it any more. */
  drop(): void;
}>;

/** A hash that is computed in another thread. Threads start when first needed, and end with the process. */
export function createThreadHasher(algorithm: DigestAlgorithm): ThreadHasher {
  const idle = threads.find((thread) => thread.open === 0);
  const quietest = (): Thread => threads.reduce((a, b) => (b.open < a.open ? b : a));
  const thread = idle ?? (threads.length < THREADS ? startThread() : quietest());
  thread.open++;
  const id = serial++;
  let closed = false;
  const end = (): Promise<string | undefined> => {
    if (!closed) thread.open--;
    closed = true;
    return ask(thread, [id, algorithm]);
  };
  return {
    update: async (bytes) => void (await ask(thread, [id, algorithm, bytes])),
    digest: async () => (await end()) as string,
    drop: () => {
      if (!closed) end().catch(() => undefined);
    },
  };
}
