import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { DigestAlgorithm } from '../core/digest.ts';
import type { DigestingWriter } from './file-system.ts';

/** Two hash 2 GiB a second, more than a stick gives, and read no more files at once than a disk that turns can bear. */
const READING_THREADS = Math.min(2, availableParallelism());

/** With two cores one of them is busy with receiving, and each thread costs 12 MiB. */
const WRITING_THREADS = availableParallelism() < 4 ? 1 : 2;

/** What a file is written from waits in at most so many pieces: one is hashed and written, the next is there. */
const PIECES_AHEAD = 2;

/** `size`: read and hash so many bytes from the beginning. Without: pieces follow, each to be hashed and written, and `end`. */
type Question =
  | Readonly<{ id: number; fd: number; algorithm: DigestAlgorithm; size?: number }>
  | Readonly<{ id: number; piece: Uint8Array }>
  | Readonly<{ id: number; end: true }>;

type Failure = Readonly<{ message: string; code?: string; errno?: number; syscall?: string }>;

/** `bytes`: done since the last answer, of a file or one whole piece. The last one has the digest or what went wrong. */
type Answer = Readonly<{ id: number } & ({ bytes: number } | { hex: string } | { failed: Failure })>;

/** Runs in the thread. It is sent there as text, so that it is a part of every form of the program: nothing from around it may be used. */
function answerQuestions(): void {
  const { parentPort } = process.getBuiltinModule('node:worker_threads');
  const { createHash } = process.getBuiltinModule('node:crypto');
  const { readSync, writeSync } = process.getBuiltinModule('node:fs');
  type Hash = import('node:crypto').Hash;
  const written = new Map<number, { hash: Hash; fd: number }>();
  let memory: Uint8Array | undefined;
  const say = (answer: Answer): void => parentPort?.postMessage(answer);

  const digestFile = (id: number, fd: number, size: number, hash: Hash): void => {
    memory ??= new Uint8Array(1024 * 1024);
    let unsaid = 0;
    for (let position = 0; position < size; ) {
      const count = readSync(fd, memory, 0, Math.min(memory.length, size - position), position);
      if (count === 0) break;
      hash.update(memory.subarray(0, count));
      position += count;
      unsaid += count;
      if (unsaid < 8 * memory.length) continue;
      say({ id, bytes: unsaid });
      unsaid = 0;
    }
    say({ id, bytes: unsaid });
    say({ id, hex: hash.digest('hex') });
  };

  const answer = (question: Question): void => {
    const { id } = question;
    if ('fd' in question) {
      const { fd, algorithm, size } = question;
      const hash = createHash(algorithm);
      if (size === undefined) written.set(id, { hash, fd });
      else digestFile(id, fd, size, hash);
    } else if ('piece' in question) {
      const { piece } = question;
      const file = written.get(id);
      if (file === undefined) return; // it has failed, and this one was on its way
      file.hash.update(piece);
      for (let done = 0; done < piece.length; ) done += writeSync(file.fd, piece, done, piece.length - done);
      say({ id, bytes: piece.length });
    } else {
      const file = written.get(id);
      written.delete(id);
      if (file !== undefined) say({ id, hex: file.hash.digest('hex') });
    }
  };

  parentPort?.on('message', (question: Question) => {
    try {
      answer(question);
    } catch (error) {
      written.delete(question.id);
      const { message, code, errno, syscall } = error as NodeJS.ErrnoException;
      say({ id: question.id, failed: { message, ...(code && { code }), ...(errno && { errno }), ...(syscall && { syscall }) } });
    }
  });
}

type Job = Readonly<{ onBytes: (count: number) => void; resolve: (hex: string) => void; reject: (error: Error) => void }>;
type Thread = Readonly<{ worker: Worker; jobs: Map<number, Job> }>;

/** Not the same ones: a thread reads a file to its end, and a connection that waits so long for what it brought to be written is given up. */
const readers: Thread[] = [];
const writers: Thread[] = [];
let lastId = 0;

/**
 * The digest in hex of the first `size` bytes of an open file, or of as many as it has, made beside what this thread does. The file must stay open until
 * then. @throws the system's errors of reading
 */
export function digestInThread(
  fd: number,
  size: number,
  algorithm: DigestAlgorithm,
  onBytes: (count: number) => void,
): Promise<string> {
  return begin(leastBusy(readers, READING_THREADS), { fd, algorithm, size }, onBytes).hex;
}

/** Hashes and writes to the end of an open file beside what this thread does. The file must stay open until `settled`. */
export function writeInThread(fd: number, algorithm: DigestAlgorithm, onWritten: (piece: Uint8Array) => void): DigestingWriter {
  const pieces: Uint8Array[] = [];
  let wake: (() => void) | undefined;
  const { ask, hex } = begin(leastBusy(writers, WRITING_THREADS), { fd, algorithm }, () => {
    onWritten(pieces.shift() as Uint8Array);
    wake?.();
  });
  let failure: { error: unknown } | undefined;
  const settled = hex.then(
    () => undefined,
    (error: unknown) => {
      failure = { error };
      wake?.();
    },
  );
  let ended = false;
  const end = (): Promise<string> => {
    if (!ended) ask({ end: true });
    ended = true;
    return hex;
  };
  return {
    async add(piece) {
      while (pieces.length >= PIECES_AHEAD && failure === undefined)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      if (failure !== undefined) throw failure.error;
      pieces.push(piece);
      // Small ones are not shared: a view would be sent with all the memory that it lies in.
      ask({ piece: piece.buffer instanceof SharedArrayBuffer ? piece : Uint8Array.from(piece) });
    },
    end,
    async settled() {
      void end();
      await settled;
    },
  };
}

type Told<Q> = Q extends Question ? Omit<Q, 'id'> : never;

function begin(thread: Thread, question: Told<Question>, onBytes: Job['onBytes']) {
  const id = ++lastId;
  const ask = (more: Told<Question>): void => thread.worker.postMessage({ ...more, id });
  const hex = new Promise<string>((resolve, reject) => {
    thread.jobs.set(id, { onBytes, resolve, reject });
    thread.worker.ref();
    ask(question);
  });
  return { ask, hex };
}

/** One more, up to `most`, is begun when all have work. */
function leastBusy(threads: Thread[], most: number): Thread {
  const idle = threads.find(({ jobs }) => jobs.size === 0);
  if (idle !== undefined) return idle;
  return threads.length < most ? start(threads) : threads.reduce((a, b) => (b.jobs.size < a.jobs.size ? b : a));
}

function start(threads: Thread[]): Thread {
  const worker = new Worker(`(${answerQuestions})()`, { eval: true });
  const jobs: Thread['jobs'] = new Map();
  const thread = { worker, jobs };
  threads.push(thread);
  worker.on('message', (answer: Answer) => {
    const job = jobs.get(answer.id);
    if ('bytes' in answer) {
      job?.onBytes(answer.bytes);
      return;
    }
    jobs.delete(answer.id);
    if (jobs.size === 0) worker.unref();
    if ('hex' in answer) job?.resolve(answer.hex);
    else job?.reject(Object.assign(new Error(answer.failed.message), answer.failed));
  });
  worker.on('error', (error) => {
    threads.splice(threads.indexOf(thread), 1);
    for (const job of jobs.values()) job.reject(error as Error);
    jobs.clear();
  });
  worker.unref();
  return thread;
}
