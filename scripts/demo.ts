/** `npm start`: the whole journey on this machine alone, with the real commands, two origins and a target that are started here. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startOrigins } from './demo/origins.ts';
import { createStage } from './demo/stage.ts';

const root = resolve(import.meta.dirname, '..');
const work = join(root, 'bundles/demo');
rmSync(work, { recursive: true, force: true });
mkdirSync(work, { recursive: true });

const { origins, target, close } = await startOrigins();
const stage = createStage(root, work);
try {
  writeFileSync(
    join(work, 'demo.yaml'),
    [
      'apiVersion: bundle/v1',
      'name: demo',
      'platforms: [linux/amd64, linux/arm64]',
      'images:',
      `  - ${origins[0]}/library/tool:1.0     # the same path on two origins: two different images`,
      `  - ${origins[1]}/library/tool:1.0`,
      `  - {ref: "${origins[0]}/library/web:2.1", platforms: [linux/arm64]}`,
      '',
    ].join('\n'),
  );
  const plain = ['--plain-http', [...origins, target].join(',')];
  const environment = { BUNDLE_PLAIN_HTTP: plain[1] as string, BUNDLE_KEY_PASSWORD: 'demo' };
  const bundle = async (words: string, expected = 0) => stage.run(words.split(' '), environment, expected);

  stage.title('1. A key pair: the private half stays here, the public half goes to node-1 beforehand');
  await bundle('keys generate -o release');

  stage.title('2. Connected side: pin every tag to a digest, fetch what is missing, sign');
  await bundle('lock -f demo.yaml');
  await bundle('pull -f demo.yaml -o bundle --key release.key');
  await bundle('inspect bundle');

  stage.title('3. Carry: a plain copy, as to a USB stick');
  cpSync(join(work, 'bundle'), join(work, 'usb'), { recursive: true });
  stage.say('copied bundle/ to usb/');

  stage.title('4. node-1, no network: verify everything, push it, write the k3s mirrors');
  const load = `load usb --registry ${target} --trust release.pub --state state --registries-yaml registries.yaml`;
  await bundle('verify usb --trust release.pub');
  await bundle(load);
  await stage.compareDigests(join(work, 'usb/bundle.json'), target);

  stage.title('5. The same again: nothing to do');
  await bundle('pull -f demo.yaml -o bundle --key release.key');
  await bundle(load);

  stage.title('6. One flipped byte on the medium: refused before anything is pushed');
  cpSync(join(work, 'usb'), join(work, 'damaged'), { recursive: true });
  flipByte(join(work, 'damaged'));
  await bundle(load.replace('load usb', 'load damaged'), 5);

  for (const name of ['usb', 'damaged']) rmSync(join(work, name), { recursive: true, force: true });
  stage.title('Done');
  stage.say(`The bundle, the lock and the mirror file are in bundles/demo/ to look at:\n  ${readdirSync(work).join('  ')}\n`);
  stage.say(readFileSync(join(work, 'registries.yaml'), 'utf8'));
} finally {
  await close();
}

/** Flips one bit in the largest blob: a layer. */
function flipByte(directory: string): void {
  const blobs = join(directory, 'blobs/sha256');
  const largest = readdirSync(blobs)
    .map((name) => ({ path: join(blobs, name), bytes: readFileSync(join(blobs, name)) }))
    .sort((a, b) => b.bytes.length - a.bytes.length)[0];
  if (largest === undefined || !existsSync(largest.path)) throw new Error('no blob to damage');
  const middle = largest.bytes.length >> 1;
  largest.bytes[middle] = (largest.bytes[middle] as number) ^ 1;
  writeFileSync(largest.path, largest.bytes);
  stage.say(`flipped one bit at byte ${middle} of damaged/blobs/sha256/${largest.path.slice(-64, -52)}…`);
}
