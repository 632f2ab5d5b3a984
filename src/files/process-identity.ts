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

/** Field 22 of /proc/<pid>/stat, counted after the command name, which may itself hold spaces and brackets (proc(5)). */
const startTimeOf = (pid: number): string => readProc(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ')[19] ?? '';

export const ownIdentity = (): ProcessIdentity => ({
  pid: process.pid,
  host: hostname(),
  bootId: readProc('/proc/sys/kernel/random/boot_id'),
  startTime: startTimeOf(process.pid),
});

export type Liveness = 'running' | 'gone' | 'foreign';

/** Never by wall clock: suspend and clock jumps made restic (30-minute rule) and borg (#9883) steal locks. */
export function livenessOf(owner: ProcessIdentity, self: ProcessIdentity = ownIdentity()): Liveness {
  if (owner.host !== self.host) return 'foreign';
  if (owner.bootId !== self.bootId) return 'gone';
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? 'running' : 'gone';
  }
  return owner.startTime !== '' && startTimeOf(owner.pid) !== owner.startTime ? 'gone' : 'running';
}
