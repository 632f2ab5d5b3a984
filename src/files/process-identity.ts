import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** Enough to say later whether the very same process still runs: a pid alone is re-used, and a boot ends them all. */
export type ProcessIdentity = Readonly<{ pid: number; host: string; bootId: string; startTime: string }>;

/** '' where the system has no /proc (macOS): then the pid decides. */
const readProc = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
};

/** Fields 3 and 22 of /proc/<pid>/stat, counted after the command name, which may itself hold spaces and brackets (proc(5)). */
function statusOf(pid: number): { state: string; startTime: string } {
  const fields = readProc(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ') ?? [];
  return { state: fields[0] ?? '', startTime: fields[19] ?? '' };
}

export const ownIdentity = (): ProcessIdentity => ({
  pid: process.pid,
  host: hostname(),
  bootId: readProc('/proc/sys/kernel/random/boot_id'),
  startTime: statusOf(process.pid).startTime,
});

export type Liveness = 'running' | 'gone' | 'foreign';

/** Never by wall clock: suspend and clock jumps made restic (30-minute rule) and borg (#9883) steal locks. */
export function livenessOf(owner: ProcessIdentity, self: ProcessIdentity = ownIdentity()): Liveness {
  if (owner.host !== self.host) return 'foreign';
  if (owner.bootId !== self.bootId) return 'gone';
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return 'gone'; // EPERM: it runs, as another user
  }
  if (owner.startTime === '') return 'running';
  const { state, startTime } = statusOf(owner.pid);
  // A zombie does nothing any more, and where nobody collects it (a container without an init) it stays for ever.
  return startTime !== owner.startTime || state === 'Z' || state === 'X' ? 'gone' : 'running';
}
