/** Runs contenders in turns, A B A B: what the machine does meanwhile meets them all alike. */
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Registry } from '../../test/support/real/registries.ts';
import { createSuiteScope } from '../../test/support/real/scope.ts';
import type { Ending } from '../../test/support/temp-dir.ts';
import { type Command, type Cost, measure } from './measure.ts';

/** The floor is what the machine allows: no hash, no format, no checks. */
export type Role = 'floor' | 'peer' | 'ours';
/** `requests`: HTTP requests that the registry logged meanwhile. */
export type Sample = Cost & Readonly<{ requests: number | undefined }>;
/** One command of a round. `registry` is the one that it talks to. */
export type Step = Readonly<{ stage: string; command: Command; registry?: Registry }>;
export type Contender = Readonly<{
  name: string;
  role: Role;
  /** The steps of one round, in a fresh folder. What it starts ends with the round. */
  round(scope: Ending, fresh: string): readonly Step[] | Promise<readonly Step[]>;
}>;
export type Row = Readonly<{ set: string; stage: string; name: string; role: Role; samples: readonly Sample[] }>;

/** @param directory of everything; each round gets a folder below it, which is removed afterwards */
export async function runRounds(
  set: string,
  directory: string,
  contenders: readonly Contender[],
  runs: number,
): Promise<readonly Row[]> {
  const rows = new Map<string, Row & { samples: Sample[] }>();
  for (let i = 0; i < runs; i++)
    for (const { name, role, round } of contenders) {
      const fresh = join(directory, 'round');
      const scope = createSuiteScope();
      try {
        for (const step of await round(scope, fresh)) {
          const key = `${step.stage}\n${name}`;
          const row = rows.get(key) ?? { set, stage: step.stage, name, role, samples: [] };
          rows.set(key, row);
          row.samples.push(await measureStep(step));
          console.error(`  ${i + 1}/${runs} ${step.stage}, ${name}: ${((row.samples.at(-1)?.wallMs ?? 0) / 1000).toFixed(2)} s`);
        }
      } finally {
        await scope.end();
        rmSync(fresh, { recursive: true, force: true });
      }
    }
  return [...rows.values()];
}

async function measureStep({ command, registry }: Step): Promise<Sample> {
  spawnSync('sync'); // what the one before left to be written would be paid for here
  const before = registry === undefined ? 0 : registry.server.output().length;
  const cost = await measure(command);
  return { ...cost, requests: registry && (await requestsSince(registry, before)) };
}

/** From the registry's access log, which comes a moment later. */
async function requestsSince(registry: Registry, from: number): Promise<number> {
  for (let length = -1; length !== registry.server.output().length; await sleep(50)) length = registry.server.output().length;
  return (
    registry.server
      .output()
      .slice(from)
      .match(/"(?:GET|HEAD|POST|PUT|PATCH|DELETE) \/v2\//g)?.length ?? 0
  );
}
