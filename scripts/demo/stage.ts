import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Prints the story and runs the real command line in the demonstration's folder. */
export function createStage(root: string, work: string) {
  const colour = process.stdout.isTTY === true && !process.env.NO_COLOR;
  const bold = (text: string): string => (colour ? `\x1b[1m${text}\x1b[0m` : text);
  const say = (text: string): void => void process.stdout.write(`${text}\n`);

  /** @throws when the exit code is not the expected one: the demonstration then fails too */
  async function run(words: readonly string[], environment: Readonly<Record<string, string>>, expected: number): Promise<void> {
    say(bold(`\n$ bundle ${words.join(' ')}`));
    const child = spawn(join(root, 'scripts/bundle'), words, {
      cwd: work,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', resolve);
    });
    if (code !== expected) throw new Error(`"bundle ${words.join(' ')}" ended with ${code}, want ${expected}`);
    if (expected !== 0) say(`(exit code ${code}, as it should be)`);
  }

  /** Asks the target by plain HTTP, with no code of ours in between, what each tag means there. */
  async function compareDigests(statement: string, target: string): Promise<void> {
    const { predicate } = JSON.parse(readFileSync(statement, 'utf8')) as {
      predicate: { contents: { ref: string; targetDigest: string }[] };
    };
    say(bold('\nWhat the target says, beside what was signed:'));
    for (const { ref, targetDigest } of predicate.contents) {
      const [name, tag] = [ref.slice(0, ref.lastIndexOf(':')), ref.slice(ref.lastIndexOf(':') + 1)];
      const [host, ...path] = name.split('/') as [string, ...string[]];
      const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json';
      const response = await fetch(`http://${target}/v2/${host.replace(':', '_')}/${path.join('/')}/manifests/${tag}`, {
        headers: { accept },
      });
      const digest = response.headers.get('docker-content-digest');
      if (digest !== targetDigest) throw new Error(`${ref}: ${digest} at the target, ${targetDigest} signed`);
      say(`  equal  ${digest}  ${ref}`);
    }
  }
  return { say, title: (text: string) => say(bold(`\n== ${text}`)), run, compareDigests };
}
