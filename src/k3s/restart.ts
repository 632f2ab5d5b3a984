import { BundleError } from '../core/errors.ts';
import type { Spawn } from './spawn.ts';
import type { Restored } from './way-back.ts';

export type RestartRequest = Readonly<{
  spawn: Spawn;
  /** Whether registries.yaml was changed since k3s last started. */
  changed: boolean;
  /** Puts the registries.yaml back that k3s last started with (`Applied.restore`). */
  restore: () => Promise<Restored>;
  clock: Readonly<{ now(): number; sleep(ms: number): Promise<void> }>;
  /** Unit names in the order of search, without ".service". Default: k3s, k3s-agent. */
  units?: readonly string[];
  /** How long k3s may take to come up, milliseconds. Default 180 000: a cold server imports its images before it is ready. */
  timeoutMs?: number;
  /** For how long it must stay up with one process before that counts, milliseconds. Default 10 000. */
  settleMs?: number;
}>;

export type RestartResult = Readonly<{
  restarted: boolean;
  unit: string | undefined;
  /** 'not running': the unit is there and stopped; 'absent': there is none. */
  why: 'changed' | 'unchanged' | 'not running' | 'absent';
}>;

const POLL_MS = 1000;
const QUERY_MS = 10_000;

type UnitState = Readonly<{ load: string; active: string; pid: string }>;

function createUnits({ spawn, clock, timeoutMs = 180_000, settleMs = 10_000 }: RestartRequest) {
  async function stateOf(unit: string): Promise<UnitState> {
    const { stdout } = await spawn(['systemctl', 'show', `${unit}.service`, '--property=LoadState,ActiveState,MainPID'], {
      timeoutMs: QUERY_MS,
    });
    const lines = stdout.toString().split('\n');
    const field = (name: string): string | undefined => lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1);
    return { load: field('LoadState') ?? 'unknown', active: field('ActiveState') ?? 'unknown', pid: field('MainPID') ?? '0' };
  }

  /**
   * Restarts and waits until one process has been active for `settleMs`: a k3s that dies of its registries.yaml is "active" for a moment
   * again and again, since its unit restarts it.
   * @returns undefined when it is up, else what was seen last
   */
  async function restart(unit: string): Promise<string | undefined> {
    const deadline = clock.now() + timeoutMs;
    const { status, stderr } = await spawn(['systemctl', 'restart', `${unit}.service`], { timeoutMs });
    if (status !== 0)
      return status === undefined ? 'systemctl restart did not end' : lastLine(stderr) || `systemctl restart: exit ${status}`;
    let since = clock.now();
    let pid: string | undefined;
    let seen: UnitState = { load: 'unknown', active: 'unknown', pid: '0' };
    while (clock.now() < deadline) {
      seen = await stateOf(unit);
      if (seen.active === 'failed') break;
      if (seen.active !== 'active' || seen.pid !== pid) {
        since = clock.now();
        pid = seen.active === 'active' ? seen.pid : undefined;
      } else if (clock.now() - since >= settleMs) return undefined;
      await clock.sleep(POLL_MS);
    }
    return `its state is ${seen.active}`;
  }

  return { stateOf, restart };
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1)?.slice(0, 300) ?? '';

const RUNS: readonly string[] = ['active', 'activating', 'reloading'];

/** The unit to restart: the first that runs, else the first that failed, else none; `there` is the first that systemd knows. */
async function findUnit(names: readonly string[], stateOf: (unit: string) => Promise<UnitState>) {
  const states: (UnitState & { name: string })[] = [];
  for (const name of names) states.push({ name, ...(await stateOf(name)) });
  const unit = states.find(({ active }) => RUNS.includes(active)) ?? states.find(({ active }) => active === 'failed');
  return { unit, there: states.find(({ load }) => load !== 'not-found')?.name };
}

/**
 * Restarts k3s or k3s-agent, which read registries.yaml at their start only, and waits until it stays up; one that failed is tried too. When
 * it does not come up, the old file is put back and k3s restarted again.
 * @throws BundleError E_RESTART when k3s did not come up with the new file, E_NOT_FOUND without systemctl
 */
export async function restartK3s(request: RestartRequest): Promise<RestartResult> {
  if (!request.changed) return { restarted: false, unit: undefined, why: 'unchanged' };
  const units = createUnits(request);
  const resetFailed = (name: string) => request.spawn(['systemctl', 'reset-failed', `${name}.service`], { timeoutMs: QUERY_MS });
  const { unit: found, there } = await findUnit(request.units ?? ['k3s', 'k3s-agent'], units.stateOf);
  if (found === undefined) return { restarted: false, unit: there, why: there === undefined ? 'absent' : 'not running' };
  const unit = found.name;
  if (found.active === 'failed') await resetFailed(unit);
  const trouble = await units.restart(unit);
  if (trouble === undefined) return { restarted: true, unit, why: 'changed' };
  const restored = await tryRestore(request.restore);
  let still: string | undefined = trouble;
  if (restored.done) {
    await resetFailed(unit);
    still = await units.restart(unit);
  }
  throw new BundleError(
    'E_RESTART',
    `${unit}.service did not come up with the new registries.yaml (${trouble}); ${outcome(restored, still)}`,
    {
      origin: 'host',
      hint: `look for the reason with: journalctl -u ${unit} -n 50`,
      detail: { unit, restored: restored.done, running: still === undefined },
    },
  );
}

/** The restart's failure is the news: what keeps the old file from coming back is said beside it. */
async function tryRestore(restore: () => Promise<Restored>): Promise<Restored> {
  try {
    return await restore();
  } catch (error) {
    return { done: false, why: error instanceof Error ? error.message : String(error), backup: undefined };
  }
}

function outcome(restored: Restored, still: string | undefined): string {
  if (!restored.done)
    return `the file was NOT put back: ${restored.why}; ${restored.backup === undefined ? 'there is no backup' : `backup is ${restored.backup}`}`;
  return still === undefined
    ? 'the old file is back and it runs again'
    : `the old file is back, but it does not run either (${still})`;
}
