/** A registry of ours over a directory, as a process of its own that can be killed: `node serve-worker.ts DIRECTORY`; says its URL. */
import { nodeFileSystem } from '../../src/files/node-file-system.ts';
import { openDiskContent } from '../../src/serve/disk-content.ts';
import { collectRegularly } from '../../src/serve/garbage.ts';
import { startRegistry } from '../../src/serve/server.ts';
import { withoutSync } from './fault-file-system.ts';

const [directory] = process.argv.slice(2) as [string];
// A kill loses no page cache, and waiting for the disk would make the kills hit little else.
const content = await openDiskContent(withoutSync(nodeFileSystem), directory, { indexDelayMs: 20 });
collectRegularly(content, { everyMs: 20, graceMs: 60_000 });
const registry = await startRegistry({ content });
process.stdout.write(`${registry.url}\n`);
